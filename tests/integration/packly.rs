//! A Packly mesh that is made and served once for all tests, with one domain's tables in an S3 server.
//!
//! The data is what `polder demo` makes, at a hundredth of its size. The domain `payments` keeps its files in a bucket
//! of an S3-compatible server on loopback; the other domains keep theirs in local directories.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use polder::flight::client::{Credentials, Remote};
use polder::packly::{DOMAINS, write_domain, write_files};
use polder::server::{self, Running};
use polder::session::{Engine, Options};
use polder_catalog::mesh::Mesh;
use polder_catalog::secret::Secret;
use tempfile::TempDir;

use crate::s3::{Requests, serve_s3};

/// The size of the data against the demo's.
const SCALE: f64 = 0.01;

/// A served mesh.
pub struct Packly {
    pub engine: Arc<Engine>,
    pub address: SocketAddr,
    dir: TempDir,
    runtime: tokio::runtime::Runtime,
    _running: Running,
}

impl Packly {
    /// Where its files are.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().join("mesh")
    }

    /// Waits for `work` on the threads that serve.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub fn url(&self) -> String {
        format!("grpc://{}", self.address)
    }

    /// A connection as `user`, whose password is its name.
    pub async fn connect(&self, user: &str) -> Remote {
        let credentials = Credentials::Password { user: user.to_owned(), password: Secret::new(user) };
        Remote::connect(&self.url(), credentials, None, None).await.unwrap()
    }
}

/// The mesh that all tests share.
pub fn packly() -> &'static Packly {
    static PACKLY: OnceLock<Packly> = OnceLock::new();
    PACKLY.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (engine, running) = runtime.block_on(async {
            let mesh = dir.path().join("mesh");
            write_files(&mesh).unwrap();
            let bucket = dir.path().join("s3");
            fs::create_dir_all(bucket.join("packly")).unwrap();
            move_to_s3(&mesh, serve_s3(&bucket, &Requests::default()).await);
            let engine = make(&mesh, SCALE).await;
            let options = server::Options { listen: loopback(), http: Some(loopback()), tls: None };
            let running = server::start(Arc::clone(&engine), options).await.unwrap();
            (engine, running)
        });
        let address = running.address;
        Packly { engine, address, dir, runtime, _running: running }
    })
}

/// Any free port of this machine.
pub fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Starts an engine over the mesh in `dir` and writes its data.
pub async fn make(dir: &Path, scale: f64) -> Arc<Engine> {
    let mesh = Mesh::load(dir).unwrap_or_else(|findings| panic!("{findings:#?}"));
    assert!(mesh.findings().is_empty(), "{:#?}", mesh.findings());
    // A plan has as many partitions as threads, and scripts show plans.
    let engine = Engine::start(mesh, Options { threads: Some(2), ..Options::default() }).unwrap();
    let mesh = engine.mesh();
    for name in DOMAINS {
        let domain = mesh.domain(&name.parse().unwrap()).unwrap();
        let catalog = engine.lake().catalog(domain).await.unwrap();
        write_domain(name, catalog, scale, &|_| {}).await.unwrap();
    }
    engine
}

/// Puts the domain `payments` into the bucket `packly` of the server at `address`.
fn move_to_s3(mesh: &Path, address: SocketAddr) {
    let path = mesh.join("payments/domain.yaml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("file:lake/payments"), "{text}");
    let text = text.replace("file:lake/payments", "s3://packly/payments");
    let text: String =
        text.lines().filter(|line| !line.starts_with("storage:")).map(|line| format!("{line}\n")).collect();
    fs::write(mesh.join("secrets/s3.key"), "not-much-of-a-secret").unwrap();
    let storage = format!(
        "storage: {{ endpoint: \"http://{address}\", region: us-east-1, access_key_id: \"${{file:secrets/s3.id}}\", \
         secret_access_key: \"${{file:secrets/s3.key}}\", allow_http: \"true\" }}\n"
    );
    fs::write(mesh.join("secrets/s3.id"), "payments").unwrap();
    fs::write(path, text + &storage).unwrap();
}
