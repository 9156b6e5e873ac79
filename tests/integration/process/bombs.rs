//! Bodies that unpack to far more than they are: refused, in flat memory.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

use crate::support::{Program, TestCluster, eventually};

/// What each unpacks to: spaces, which are no line and no end of one.
const UNPACKED: usize = 256 << 20;
/// How much memory the program may take for all of them, in KiB: half of what a single one unpacks to. It takes 28 to 54 MiB:
/// windows, and what the allocator has not given back.
const MOST: usize = UNPACKED >> 11;

/// [`UNPACKED`] by Node's `zlib.brotliCompressSync`, with the largest window.
const BROTLI: &str = "z///fwAkQOKxQHLv//n//w+ABEAcFoDu/T////8BkACIwwLQvf/n//8/ABIAcVgAuvf//P//B0ACIA4LQPf+n////wBIAMRh\
                      Aeje//P//x8ACYA4LADd+3/+//8DIAEQhwWge//P//9/ACQA4rAAdO//+f//D4AEQBwWgO79P////wGQAIjDAtC9/+f//z8A\
                      EgBxWAC69//8//8HQAIgDgtA9/6f////AEgAxGEB6N7/8///HwAJgDgsAN37//z//wcgARCHBaB7/w8=";

fn gzip() -> Vec<u8> {
    let (mut gzip, spaces) = (GzEncoder::new(Vec::new(), Compression::best()), [b' '; 1 << 16]);
    (0..UNPACKED / spaces.len()).for_each(|_| gzip.write_all(&spaces).unwrap());
    gzip.finish().unwrap()
}

fn zstd() -> Vec<u8> {
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let spaces = [b' '; 1 << 16];
    (0..UNPACKED / spaces.len()).for_each(|_| zstd.write_all(&spaces).unwrap());
    zstd.finish().unwrap()
}

/// The most memory that the program ever had, in KiB.
fn peak(program: &Program) -> usize {
    let status = program.proc("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_bomb_of_each_coding_is_refused_by_each_route_in_flat_memory() {
    let cluster = TestCluster::start().await;
    let mut command = Program::command(&cluster);
    // The packed ones are within each bound.
    command.env("MAX_BODY_BYTES", "2MiB");
    let program = Program::start(command);
    let base = program.address().await;
    // A connection ends with an answer that came before the end of its request.
    let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let post = async |path: &str, content_type: &str, coding: &str, body: Vec<u8>| {
        let request = http.post(format!("{base}{path}")).header("content-type", content_type);
        request.header("content-encoding", coding).body(body).send().await.unwrap()
    };
    eventually("it is ready", async || {
        let answer = http.get(format!("{base}/ready")).send().await.unwrap();
        answer.status().is_success().then_some(())
    })
    .await;
    let before = peak(&program);
    for (coding, bomb) in [("gzip", gzip()), ("zstd", zstd()), ("br", STANDARD.decode(BROTLI).unwrap())] {
        assert!(bomb.len() < 400 << 10, "{coding}: {} bytes", bomb.len());
        for path in ["/events/generate", "/api/events", "/v1/track", "/events/batch"] {
            let answer = post(path, "application/json", coding, bomb.clone()).await;
            assert_eq!(answer.status(), 413, "{coding} at {path}");
        }
        let answer = post("/events/batch", "application/x-ndjson", coding, bomb).await;
        assert_eq!(answer.status(), 207);
        let receipt: Value = answer.json().await.unwrap();
        assert_eq!(receipt["status"], 413, "{coding}: {receipt}");
    }
    let taken = peak(&program) - before;
    assert!(taken < MOST, "{taken} KiB for bombs of {} KiB", UNPACKED >> 10);
}
