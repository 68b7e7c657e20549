//! What a read is compared to: nginx that serves the same bytes from a file, set up as well as it can be.
//!
//! It does less than a replica: it sends a fifth of the headers, and knows nothing of what has changed.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    account::{self, Account},
    ports,
    process::{Launch, Process},
    scratch::Scratch,
};

/// One worker, as it gets one processor; no log, open files kept open, connections never closed.
const CONFIGURATION: &str = r#"
worker_processes 1;
pid "${STATE}/nginx.pid";
error_log stderr crit;
events { worker_connections 1024; }
http {
    types { text/html html; }
    charset utf-8;
    sendfile on;
    tcp_nopush on;
    access_log off;
    keepalive_requests 1000000000;
    open_file_cache max=100 inactive=1h;
    open_file_cache_valid 1h;
    gzip_static on;
    gzip_vary on;
    client_body_temp_path "${STATE}/body";
    proxy_temp_path "${STATE}/proxy";
    fastcgi_temp_path "${STATE}/fastcgi";
    uwsgi_temp_path "${STATE}/uwsgi";
    scgi_temp_path "${STATE}/scgi";
    server {
        listen ${LISTEN};
        root "${ROOT}";
    }
}
"#;

/// The nginx, as long as it is kept.
#[derive(Debug)]
pub struct Reference {
    process: Process,
    address: String,
    root: PathBuf,
    _scratch: Scratch,
}

impl Reference {
    /// Starts it, with no files yet.
    pub async fn start() -> Result<Self> {
        let scratch = Scratch::new("reference")?;
        let account = Account::unprivileged(scratch.path())?;
        let (state, root, file) = (scratch.join("state"), scratch.join("www"), scratch.join("nginx.conf"));
        account.create_directory(&state)?;
        fs::create_dir(&root).context("cannot create the directory of files to serve")?;
        let address = format!("127.0.0.1:{}", ports::free()?);
        let text = CONFIGURATION
            .replace("${STATE}", &state.display().to_string())
            .replace("${ROOT}", &root.display().to_string())
            .replace("${LISTEN}", &address);
        fs::write(&file, text).context("cannot write the configuration of nginx")?;
        let process = Launch::new(&account::program("nginx").context("nginx (Debian package nginx) is missing")?)
            .arg("-c")
            .arg(&file)
            .args(["-e", "stderr", "-g", "daemon off;"])
            .account(&account)
            .start(&scratch.join("output.log"))?;
        let start = Instant::now();
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            let log = || fs::read_to_string(scratch.join("output.log")).unwrap_or_default();
            ensure!(start.elapsed() < Duration::from_secs(10), "nginx does not start\n{}", log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Self { process, address, root, _scratch: scratch })
    }

    /// Serves these bytes at this path, and their compressed form to those who take it.
    pub fn serve(&self, path: &str, plain: &[u8], gzip: &[u8]) -> Result<()> {
        let file = self.root.join(path.trim_start_matches('/'));
        let directory = file.parent().context("a file has a directory")?;
        fs::create_dir_all(directory).context("cannot create a directory of files to serve")?;
        fs::write(&file, plain).context("cannot write a file to serve")?;
        fs::write(file.with_extension("html.gz"), gzip).context("cannot write a file to serve")
    }

    /// Its URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }
}
