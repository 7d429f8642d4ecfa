//! The stack that is measured: `guildhall dev` in a folder of its own, with limits so high that they are counted and never reached.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use diesel::{Connection, PgConnection};
use serde_json::Value;
use url::Url;

/// Connections to the database, of the path as of pgbench: as many as a process has by default.
pub const CONNECTIONS: usize = 10;
/// Who ask at once. Each of pgbench's callers is always at its connection; ours are elsewhere for half of the time, reading and writing HTTP. No more
/// of them than find a place, in a workspace as without one.
pub const CALLERS: usize = 2 * CONNECTIONS;

/// A running stack. It ends with its folder when it is dropped.
pub struct Stack {
    child: Child,
    folder: PathBuf,
    /// Where the API is, with `http://`.
    pub url: String,
    pub address: SocketAddr,
    /// An administrator's way to the database.
    pub database: Url,
    /// What the stack keeps for itself.
    secrets: Value,
    /// How long the second start took, which finds everything made.
    pub start: Duration,
    /// Where Redis is, if there is one.
    pub redis: Option<String>,
}

impl Stack {
    /// Starts one.
    pub fn start(redis: bool) -> Result<Stack> {
        let folder = std::env::temp_dir().join(format!("guildhall-bench-{}-{redis}", std::process::id()));
        fs::create_dir_all(&folder)?;
        // The first start makes the database and its rows; what is measured is what a restart finds.
        let (mut seeding, _) = spawn(&folder, redis)?;
        terminate(&mut seeding);
        let begun = Instant::now();
        let (child, running) = spawn(&folder, redis)?;
        let text = |name: &str| {
            running[name]
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("no {name}"))
        };
        let url = text("url")?;
        let secrets = serde_json::from_str(&fs::read_to_string(folder.join("stack/secrets.json"))?)?;
        Ok(Stack {
            child,
            address: url.trim_start_matches("http://").parse()?,
            url,
            database: Url::parse(&text("database")?)?,
            secrets,
            start: begun.elapsed(),
            redis: running["redis"].as_str().map(str::to_owned),
            folder,
        })
    }

    /// The server's process.
    pub fn process(&self) -> i32 {
        self.child.id() as i32
    }

    /// A folder for whatever is needed meanwhile.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Something that the stack keeps, as the demonstration's API key.
    pub fn secret(&self, name: &str) -> Result<&str> {
        self.secrets[name]
            .as_str()
            .with_context(|| format!("the stack keeps no {name}"))
    }

    /// The database as one of its roles.
    pub fn as_role(&self, role: &str) -> Result<Url> {
        let mut url = self.database.clone();
        let password = self.secret("database")?;
        if url.has_host() {
            if url.set_username(role).is_err() || url.set_password(Some(password)).is_err() {
                bail!("the database's address has no room for a role");
            }
            return Ok(url);
        }
        // By a socket: everything is in the query.
        let kept: Vec<(String, String)> = url
            .query_pairs()
            .into_owned()
            .filter(|(name, _)| name != "user")
            .collect();
        url.query_pairs_mut()
            .clear()
            .extend_pairs(kept)
            .append_pair("user", role)
            .append_pair("password", password);
        Ok(url)
    }

    /// The database as its administrator, to make rows that are then asked for.
    pub fn administrator(&self) -> Result<PgConnection> {
        #[expect(
            clippy::disallowed_methods,
            reason = "rows by the thousand are made behind the API's back"
        )]
        let conn = PgConnection::establish(self.database.as_str());
        Ok(conn?)
    }

    /// How long a process that only serves takes from its start until it is ready.
    pub async fn cold_start(&self) -> Result<Duration> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let begun = Instant::now();
        let mut child = guildhall(&["serve"])
            .env("DATABASE_TENANT_URL", self.as_role("app_tenant")?.as_str())
            .env("DATABASE_KERNEL_URL", self.as_role("app_kernel")?.as_str())
            .env("GUILDHALL__SECRETS__KEKS", self.secret("keks")?)
            .env("GUILDHALL__SECRETS__SIGNING", self.secret("signing")?)
            .env("GUILDHALL__SERVER__PORT", port.to_string())
            .env("GUILDHALL__SERVER__ADMIN_PORT", "0")
            .env("REDIS_URL", self.redis.as_deref().unwrap_or("off"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.folder.join("serve.log"))?)
            .spawn()?;
        let ready = format!("http://127.0.0.1:{port}/readyz");
        let took = loop {
            if reqwest::get(&ready)
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                break begun.elapsed();
            }
            if let Some(status) = child.try_wait()? {
                bail!(
                    "it ended ({status}): {}",
                    fs::read_to_string(self.folder.join("serve.log"))?
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        child.kill()?;
        child.wait()?;
        Ok(took)
    }
}

/// Starts `guildhall dev` and waits until it says where it is.
fn spawn(folder: &Path, redis: bool) -> Result<(Child, Value)> {
    let mut child = guildhall(&["dev", "--port", "0"])
        .env("GUILDHALL_HOME", folder)
        .envs((!redis).then_some(("REDIS_URL", "off")))
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join("log"))?)
        .spawn()
        .context("guildhall cannot be started")?;
    let told = folder.join("stack/running.json");
    loop {
        let running = fs::read_to_string(&told)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok());
        if let Some(running) = running {
            return Ok((child, running));
        }
        if let Some(status) = child.try_wait()? {
            bail!(
                "the stack ended ({status}): {}",
                fs::read_to_string(folder.join("log"))?
            );
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        terminate(&mut self.child);
        // Another run takes another folder.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The program that is measured, on a development machine, with every limit far away.
fn guildhall(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guildhall"));
    command
        .args(["--env", "development"])
        .args(arguments)
        .env("GUILDHALL__DATABASE__TENANT_CONNECTIONS", CONNECTIONS.to_string())
        .env("GUILDHALL__DATABASE__KERNEL_CONNECTIONS", CONNECTIONS.to_string())
        .env("GUILDHALL__LIMITS__ANONYMOUS_PER_MINUTE", "1000000000")
        .env("GUILDHALL__LIMITS__ANONYMOUS_BURST", "1000000")
        .env("GUILDHALL__LIMITS__IP_PER_MINUTE", "1000000000")
        .env("GUILDHALL__LIMITS__IP_BURST", "1000000")
        .env("GUILDHALL__SERVER__TRUSTED_PROXIES", "127.0.0.0/8")
        .env_remove("DATABASE_URL");
    command
}

/// Asks a process to end, as Ctrl-C would, and waits.
fn terminate(child: &mut Child) {
    let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    if !asked.is_ok_and(|status| status.success()) {
        // It is gone already, or there is no `kill` here.
        let _ = child.kill();
    }
    let _ = child.wait();
}
