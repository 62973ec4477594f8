//! A socket between a client and a server that keeps a copy of all that the server sends.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

pub struct Tap {
    pub address: SocketAddr,
    sent: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    /// Listens for clients of the server at `to`.
    pub async fn before(to: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (address, sent) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let copies = Arc::clone(&sent);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, to, Arc::clone(&copies)));
            }
        });
        Self { address, sent }
    }

    /// What the server has sent so far.
    pub fn sent(&self) -> Vec<u8> {
        self.sent.lock().unwrap().clone()
    }
}

async fn pass(client: TcpStream, to: SocketAddr, sent: Arc<Mutex<Vec<u8>>>) {
    let server = TcpStream::connect(to).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move {
        // It ends when either side hangs up.
        let _ = copy(&mut from_client, &mut to_server).await;
    });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
        sent.lock().unwrap().extend_from_slice(&buffer[..read]);
        if to_client.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
