//! A real PostgreSQL server, one for all tests of a process.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use sqlx::{Connection as _, Executor as _, PgConnection};

/// The URL of a new, empty schema on a PostgreSQL server that ends with this process.
///
/// # Panics
/// When no server can be installed and started; it says why on standard error.
pub async fn postgres_schema() -> String {
    let url = server();
    let schema = format!("test_{}", uuid::Uuid::new_v4().simple());
    let mut connection = PgConnection::connect(url).await.expect("the server takes connections");
    connection.execute(format!("CREATE SCHEMA {schema}").as_str()).await.expect("a schema can be made");
    connection.close().await.expect("the server answers");
    format!("{url}?options[search_path]={schema}")
}

fn server() -> &'static str {
    static SERVER: OnceLock<(String, Child)> = OnceLock::new();
    let (url, _) = SERVER.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let made = root.join(".venv/bin/python");
        let python = if made.exists() { made.as_path() } else { Path::new("python3") };
        let mut child = Command::new(python)
            .args(["-m", "local_stack.postgres"])
            .current_dir(root.join("scripts"))
            // The end of this process closes it, which ends the server.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
        // What an installation says comes first.
        let url = lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("postgresql://"));
        (url.expect("the server starts"), child)
    });
    url
}
