//! The role that serves: what it may do, and what its sessions are like.
//!
//! `triptych migrate` may connect as another role, the owner of the tables. Then it gives the one that `serve` and `gc`
//! connect as what they need, and nothing beyond it: rights over rows, and no table of which it could change what it is.
//! Nothing is ever taken away: after a roll-back the release before runs this too, while the later one still serves.

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use url::Url;

use super::error::Error;
use super::pool::{SETTINGS, options, within};
use super::schema::CONNECT_TIMEOUT;
use super::verifier::verifier;

/// What serving and collecting does with each table and sequence. To lock a row is to update it. What hangs on a row and
/// goes with it is deleted by the database, in the name of the owner.
///
/// Every table has to be here: a release that adds one says what it does with it.
const RIGHTS: [(&str, &[&str]); 22] = [
    ("_sqlx_migrations", &["select"]),
    ("attachment", &["select", "insert", "update"]),
    ("blob", &["select", "insert", "update", "delete"]),
    // Boards are made by `triptych migrate`.
    ("board", &["select"]),
    ("board_state", &["select", "update"]),
    ("bump", &["select", "insert", "update", "delete"]),
    ("change", &["select", "insert", "update", "delete"]),
    ("installation", &["select"]),
    ("post", &["select", "insert", "update", "delete"]),
    ("quote", &["select", "insert"]),
    ("released_blob", &["select", "insert", "update", "delete"]),
    ("site_state", &["select", "update"]),
    ("storage_measure", &["select", "insert", "update"]),
    ("submission", &["select", "insert", "update", "delete"]),
    ("thread", &["select", "insert", "update", "delete"]),
    ("thread_state", &["select", "insert", "update"]),
    ("traffic", &["select", "insert", "update", "delete"]),
    ("traffic_gap", &["select", "insert"]),
    ("traffic_of_replica", &["select", "insert", "update", "delete"]),
    ("traffic_source", &["select", "insert", "update", "delete"]),
    ("post_no", &["select", "usage"]),
    ("tim_counter", &["usage"]),
];

/// What is wrong with sessions that a pooler hands out, when the role does not have their settings. A warning, because
/// nothing that is promised hangs on them: a replica that stands still may keep others waiting for longer.
pub(super) const UNLIMITED: &str = "a pooler hands out sessions of Postgres, and the role of TRIPTYCH_DATABASE_URL has no time limits. \
    Run `triptych migrate` with TRIPTYCH_MIGRATE_DATABASE_URL, an address past the pooler; sessions that the pooler has opened \
    before stay as they are until it opens others (RECONNECT)";

/// [`RIGHTS`] as two columns.
fn rights() -> (Vec<String>, Vec<String>) {
    RIGHTS
        .iter()
        .flat_map(|(object, rights)| rights.iter().map(|right| ((*object).to_owned(), (*right).to_owned())))
        .unzip()
}

/// What this role lacks of them, in words. The schema has to be there.
pub(super) async fn missing(connection: &mut PgConnection) -> Result<Option<String>, Error> {
    let (objects, rights) = rights();
    sqlx::query_scalar!(
        r#"select format('the role %s may not %s; run `triptych migrate` with TRIPTYCH_MIGRATE_DATABASE_URL, as the owner of the tables',
                         current_user, string_agg(privilege || ' ' || object, ', ')) as "missing!"
           from unnest($1::text[], $2::text[]) as needed (object, privilege)
           where not case privilege when 'usage' then has_sequence_privilege(object, privilege)
                                    else has_table_privilege(object, privilege) end
           having count(*) > 0"#,
        &objects,
        &rights,
    )
    .fetch_optional(connection)
    .await
}

/// Gives the role of an address what it needs; makes it if it is not there. `owner` has to be the owner of the tables, to
/// be asked by one at a time, and not to be hurried.
pub(super) async fn prepare(owner: &mut PgConnection, serving: &SecretString) -> Result<(), Error> {
    let role = serving.expose_secret().parse::<PgConnectOptions>()?.get_username().to_owned();
    let found = sqlx::query!(
        r#"select current_user::text as "owner!", current_user = $1 as "same!",
                  exists (select from pg_roles where rolname = $1) as "exists!",
                  exists (select from pg_roles where rolname = $1 and rolsuper) as "superuser!",
                  (select rolcreaterole or rolsuper from pg_roles where rolname = current_user) as "may_create!""#,
        role,
    )
    .fetch_one(&mut *owner)
    .await?;
    if !found.exists {
        let password = password(serving);
        let mut salt = [0; 16];
        let verifier =
            password.filter(|_| getrandom::fill(&mut salt).is_ok()).and_then(|password| verifier(&password, salt));
        let (true, Some(verifier)) = (found.may_create, verifier) else {
            let what = format!(
                "the role {role} of TRIPTYCH_DATABASE_URL does not exist, and {} of TRIPTYCH_MIGRATE_DATABASE_URL may not make it, or is not \
                 told its password, in ASCII. By hand: CREATE ROLE \"{role}\" LOGIN PASSWORD '…'",
                found.owner
            );
            return Err(Error::Configuration(what.into()));
        };
        let make = "select format('create role %I login password %L', $1::text, $2::text)";
        let make: String = sqlx::query_scalar(make).bind(&role).bind(verifier).fetch_one(&mut *owner).await?;
        sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut *owner).await?;
        tracing::info!(role, "made the role that serves");
    }
    if found.superuser {
        tracing::warn!(role, "the role that serves is a superuser, and may do everything");
    } else if !found.same {
        grant(owner, &role).await?;
    }
    limit(serving).await
}

/// Gives it the rights that it lacks. One that it has is not given again, because statements are planned anew after that.
async fn grant(owner: &mut PgConnection, role: &str) -> Result<(), Error> {
    let (objects, rights) = rights();
    let lacking = sqlx::query_scalar!(
        r#"select format('grant %s on %s %I to %I', privilege, case relkind when 'S' then 'sequence' else 'table' end, object, $3::text) as "grant!"
           from unnest($1::text[], $2::text[]) as needed (object, privilege) join pg_class on pg_class.oid = object::regclass
           where not case privilege when 'usage' then has_sequence_privilege($3::text, object, privilege)
                                    else has_table_privilege($3::text, object, privilege) end
           union all
           select format('grant usage on schema %I to %I', nspname, $3::text) from pg_namespace
           where oid = (select relnamespace from pg_class where oid = 'board'::regclass) and not has_schema_privilege($3::text, oid, 'usage')"#,
        &objects,
        &rights,
        role,
    )
    .fetch_all(&mut *owner)
    .await?;
    let mut transaction = owner.begin().await?;
    for grant in &lacking {
        sqlx::raw_sql(AssertSqlSafe(grant.clone())).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    if !lacking.is_empty() {
        tracing::info!(role, rights = lacking.len(), "gave rights to the role that serves");
    }
    Ok(())
}

/// Gives its sessions in this database their settings. Every role may do that for itself, whoever has made it and whether
/// or not the owner may change it, and through any pooler; and so the address is tried before a replica needs it.
async fn limit(serving: &SecretString) -> Result<(), Error> {
    let mut connection = within(CONNECT_TIMEOUT, options(serving, "triptych migrate")?.connect()).await?;
    let wanted: Vec<String> = SETTINGS.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let lacking = sqlx::query_scalar!(
        r#"select format('alter role %I in database %I set %I = %L', current_user, current_database(), split_part(setting, '=', 1),
                         split_part(setting, '=', 2)) as "alter!"
           from unnest($1::text[]) as wanted (setting)
           where not exists (
               select from pg_db_role_setting
               where setrole = (select oid from pg_roles where rolname = current_user)
                 and setdatabase = (select oid from pg_database where datname = current_database()) and setting = any(setconfig)
           )"#,
        &wanted,
    )
    .fetch_all(&mut connection)
    .await?;
    for alter in lacking {
        sqlx::raw_sql(AssertSqlSafe(alter)).execute(&mut connection).await?;
    }
    connection.close().await
}

/// The password in an address.
fn password(url: &SecretString) -> Option<String> {
    let url = Url::parse(url.expose_secret()).ok()?;
    let password = percent_encoding::percent_decode_str(url.password()?).decode_utf8().ok()?;
    Some(password.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_read_as_it_was_meant() {
        for (url, password_of) in [
            ("postgres://serve:plain@host/board", Some("plain")),
            ("postgres://serve:a%2Fb%40c+d@host/board", Some("a/b@c+d")),
            ("postgres://serve@host/board", None),
        ] {
            assert_eq!(password(&url.into()).as_deref(), password_of, "{url}");
        }
    }

    #[test]
    fn what_says_who_may_do_what_is_only_read() {
        for table in ["_sqlx_migrations", "board", "installation"] {
            assert!(RIGHTS.contains(&(table, &["select"])), "{table}");
        }
    }
}
