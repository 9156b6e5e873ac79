//! A TCP proxy that a test can cut.

use std::sync::Arc;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// How connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Cut,
    Silence,
}

/// Hands connections on until it is told to cut those that there are.
pub(crate) struct Way {
    pub(crate) port: u16,
    cut: Arc<watch::Sender<End>>,
}

impl Way {
    pub(crate) async fn to(address: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(watch::Sender::new(End::Cut));
        let cuts = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (address, mut cut) = (address.clone(), cuts.subscribe());
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(&address).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.changed() => {
                            // Both ends stay open, and hear nothing.
                            if *cut.borrow() == End::Silence {
                                std::future::pending::<()>().await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, cut }
    }

    /// Cuts every connection; new ones are handed on.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(End::Cut);
    }

    /// Has every connection stay open, and nothing come through; new ones are handed on.
    pub(crate) fn silence(&self) {
        self.cut.send_replace(End::Silence);
    }
}
