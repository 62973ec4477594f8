//! The process that serves: the mesh over Flight SQL, and bytes over TCP as fast as they go.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use polder::server;

use super::engine;
use crate::Result;
use crate::measure::seconds_of;
use crate::tables::Setting;

/// What is written at once.
const CHUNK: usize = 1 << 20;

/// Serves until standard input ends. Says where on standard output.
pub(super) async fn run(setting: &Setting) -> Result<String> {
    let (engine, _) = engine(setting)?;
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let running = server::start(engine, server::Options { listen, http: None, tls: None }).await?;
    let raw = TcpListener::bind(listen)?;
    println!("{} {}", running.address, raw.local_addr()?);
    std::thread::spawn(move || raw.incoming().flatten().for_each(|connection| drop(copy(connection))));
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(String::new())
}

/// Writes as many bytes as it is asked for, each from a place of its own.
fn copy(mut connection: TcpStream) -> Result<()> {
    let mut asked = [0; 8];
    connection.read_exact(&mut asked)?;
    let bytes: Vec<u8> = (0..usize::try_from(u64::from_le_bytes(asked))?).map(|place| (place >> 3) as u8).collect();
    // They are there: from here on the time counts.
    connection.write_all(&[0])?;
    connection.read_exact(&mut [0])?;
    for chunk in bytes.chunks(CHUNK) {
        connection.write_all(chunk)?;
    }
    Ok(())
}

/// That process, until this is dropped.
pub(super) struct Server {
    child: Child,
    pub(super) flight: SocketAddr,
    pub(super) raw: SocketAddr,
}

impl Server {
    pub(super) fn start(setting: &Setting) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--data").arg(&setting.data).args(["--threads", &setting.threads.to_string(), "wire", "--serve"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("the server has no output")?).read_line(&mut line)?;
        let (flight, raw) = line.trim().split_once(' ').ok_or("the server did not start")?;
        Ok(Self { flight: flight.parse()?, raw: raw.parse()?, child })
    }

    /// The CPU time that it has taken.
    pub(super) fn cpu(&self) -> f64 {
        seconds_of(&self.child.id().to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
