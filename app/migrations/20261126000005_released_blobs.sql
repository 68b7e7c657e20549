-- Blobs that an attachment has let go of, for `triptych gc` to look at: what it looks for would otherwise be found by
-- comparing all blobs with all attachments. A blob is here once for each time, and may be in use again, or gone.
--
-- Written by a trigger, because attachments go with their posts and these with their threads, and because the release
-- before this one has to write it too. No reference to `blob`: a deletion need not wait for a collection.
create table released_blob (
    id      bigint generated always as identity primary key,
    blob_id uuid not null
);

create function note_released_blob() returns trigger language plpgsql as $$
begin
    insert into released_blob (blob_id) values (old.blob_id);
    return null;
end
$$;

create trigger attachment_deleted after delete on attachment
    for each row when (old.blob_id is not null) execute function note_released_blob();
create trigger attachment_emptied after update of blob_id on attachment
    for each row when (old.blob_id is not null and old.blob_id is distinct from new.blob_id) execute function note_released_blob();
