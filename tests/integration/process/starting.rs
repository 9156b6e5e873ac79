//! Faults that prevent the start, and checks at the start.

use std::{net::TcpListener, process::Command};

use crate::support::{Program, TestCluster};

#[tokio::test]
async fn all_faults_of_a_configuration_go_to_standard_error_and_nothing_starts() {
    let cluster = TestCluster::start().await;
    let mut command = Program::command(&cluster);
    command.env("PORT", "http").env("MAX_DEPTH", "0").env("COMMIT_INTERVAL", "1");
    let ended = Program::start(command).end().await;
    assert_eq!(ended.code, Some(2));
    for fault in ["PORT=http: ", "MAX_DEPTH=0: ", "COMMIT_INTERVAL=1: "] {
        assert!(ended.stderr.contains(fault), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn dotenv_in_the_working_directory_is_read_and_the_environment_overrides_it() {
    let cluster = TestCluster::start().await;
    let mut command = Program::command(&cluster);
    command.env("MAX_DEPTH", "deep");
    let (program, _stdout) = Program::start_unread(command, "COMMIT_INTERVAL=soon\nMAX_DEPTH=shallow\n");
    let ended = program.end().await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("COMMIT_INTERVAL=soon: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("MAX_DEPTH=deep: "), "{}", ended.stderr);
}

#[tokio::test]
async fn a_malformed_dotenv_prevents_the_start() {
    let cluster = TestCluster::start().await;
    let command = Program::command(&cluster);
    let (program, _stdout) = Program::start_unread(command, "PORT=0\nthis is no setting\n");
    let ended = program.end().await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains(".env is malformed at line 2"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_port_in_use_is_reported_with_the_setting_to_change() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let cluster = TestCluster::start().await;
    let mut command = Program::command(&cluster);
    command.env("PORT", port.to_string());
    let program = Program::start(command);
    let line = program.says("is taken").await;
    assert_eq!(
        line["message"],
        format!("port {port} is taken: set PORT, or what the service's own port is set by")
    );
    assert_eq!(line["level"], "ERROR");
    assert_eq!(program.end().await.code, Some(1));
}

/// The program under a shell that limits it first.
fn limited(cluster: &TestCluster, limit: &str) -> Command {
    let program = Program::command(cluster);
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().arg("-c").arg(format!("{limit}; exec \"$0\"")).arg(program.get_program());
    shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn it_takes_the_file_descriptors_that_its_connections_need() {
    let cluster = TestCluster::start().await;
    let program = Program::start(limited(&cluster, "ulimit -Sn 256"));
    program.address().await;
    let limits = program.proc("limits");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let mut numbers = files.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
    let (soft, hard) = (numbers.next().unwrap(), numbers.next().unwrap_or(u64::MAX));
    assert_eq!(soft, hard.min(11_024), "{files}");
}

#[tokio::test]
async fn it_warns_when_there_are_too_few_file_descriptors_for_its_connections() {
    let cluster = TestCluster::start().await;
    let program = Program::start(limited(&cluster, "ulimit -n 256"));
    let line = program.says("too few file descriptors").await;
    assert_eq!((&line["level"], &line["descriptors"]), (&"WARN".into(), &256.into()), "{line}");
    program.address().await;
}
