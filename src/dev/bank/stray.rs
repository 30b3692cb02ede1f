//! Answers that no HTTP library would send: written by hand on the connection, which ends with them.
//! All but the drip say success of the right order, so that whoever reads too much would believe it.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// The size of what is too large, sent from one small buffer.
const HUGE: usize = 10 * 1000 * 1000;

/// A piece of it.
static FILLER: [u8; 10_000] = [b'x'; 10_000];

const BYTE_EVERY: Duration = Duration::from_secs(1);

/// What to do with a connection.
#[derive(Clone, Debug)]
pub(super) struct Stray {
    pub(super) how: How,
    /// The answer that is spoilt.
    pub(super) body: String,
}

/// In which way.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    Close,
    Reset,
    Drip,
    HugeHeader,
    HugeBody,
}

impl Stray {
    /// Sends it. Ends when all is sent or the other side has gone.
    pub(super) async fn play(&self, mut stream: TcpStream) -> io::Result<()> {
        let body = self.body.as_bytes();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        match self.how {
            How::Close => {}
            How::Reset => {
                let half = [head.as_bytes(), b"\r\n", &body[..body.len() / 2]].concat();
                stream.write_all(&half).await?;
                stream.set_zero_linger()?;
                return Ok(());
            }
            How::Drip => {
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(b"\r\n").await?;
                for byte in body {
                    tokio::time::sleep(BYTE_EVERY).await;
                    stream.write_all(&[*byte]).await?;
                }
            }
            How::HugeHeader => {
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(b"x-filler: ").await?;
                filler(&mut stream).await?;
                stream.write_all(b"\r\n\r\n").await?;
                stream.write_all(body).await?;
            }
            How::HugeBody => {
                let (fields, _) = self.body.split_at(body.len().saturating_sub(1));
                let before = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                     transfer-encoding: chunked\r\n\r\n{:x}\r\n{fields},\"filler\":\"",
                    fields.len() + ",\"filler\":\"".len() + HUGE + "\"}".len()
                );
                stream.write_all(before.as_bytes()).await?;
                filler(&mut stream).await?;
                stream.write_all(b"\"}\r\n0\r\n\r\n").await?;
            }
        }
        stream.shutdown().await
    }
}

async fn filler(stream: &mut TcpStream) -> io::Result<()> {
    for _ in 0..HUGE / FILLER.len() {
        stream.write_all(&FILLER).await?;
    }
    Ok(())
}
