//! The topic is read again from its beginning, and the database is filled from it anew.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::join_all;
use tokio::task::spawn_blocking;

use crate::{
    admin::persistently,
    faults::PATIENCE,
    history::{Millis, now},
    instance::{GROUP, Instance, TOPIC},
    schedule::Replayed,
    stage::Stage,
};

/// The schema that is filled.
const REBUILT: &str = "rebuilt";
/// So long after the positions were moved under running instances all of them have noticed, and commit what is lower.
const NOTICED: Millis = 30_000;

impl Stage {
    /// Has the topic read again from its beginning.
    pub(crate) async fn replay(&self, how: Replayed) -> Result<()> {
        if matches!(how, Replayed::Online) {
            return self.move_positions(NOTICED).await;
        }
        for stopped in join_all(self.regulars().iter().map(Instance::stop)).await {
            stopped?;
        }
        match how {
            // Alone they change nothing, as the database's positions are the truth.
            Replayed::Group => {
                persistently("the group's offsets", PATIENCE, async || {
                    let partitions = self.admin.partitions(TOPIC).await?;
                    let began = now();
                    // Refused while the group has members: a guest, or a static member whose session is not over.
                    self.admin.commit_beginning(GROUP, TOPIC, partitions).await?;
                    self.history.known().resets.push((began, now()));
                    Ok(())
                })
                .await?;
            }
            _ => self.move_positions(NOTICED).await?,
        }
        self.regulars().iter().try_for_each(|instance| instance.start(self.protocol()))
    }

    /// `highwater replay`, which moves the database's positions, and the group's offsets where it has no members.
    async fn move_positions(&self, until: Millis) -> Result<()> {
        persistently("highwater replay", PATIENCE, async || {
            self.history.known().resets.push((now(), now() + until));
            self.highwater(&["replay", "--from", "earliest"]).await.map(drop)
        })
        .await
    }

    /// Fills another schema and has it take the place of the one that serves, under load. Where the topic was made again,
    /// that has to be refused: it no longer has what was stored before.
    pub(crate) async fn rebuild(&self) -> Result<()> {
        let was_made_again = !self.history.known().of_before.is_empty();
        persistently("highwater replay --into", PATIENCE, async || {
            self.database()?.drop_schema().await?;
            let began = now();
            self.history.known().resets.push((began, began + NOTICED));
            let swapped = self.highwater(&["replay", "--into", REBUILT, "--swap"]).await;
            match swapped {
                Err(refused) if was_made_again && format!("{refused:#}").contains("no longer has") => Ok(()),
                Err(error) => Err(error),
                Ok(said) => {
                    ensure!(!was_made_again, "what was stored before is gone: {said}");
                    self.history.known().figures.rebuilds += 1;
                    Ok(())
                }
            }
        })
        .await
    }

    /// Runs the program on the cluster and the database, past all proxies; what it prints.
    async fn highwater(&self, args: &'static [&'static str]) -> Result<String> {
        let mut command = Command::new(&self.options.program);
        command
            .args(args)
            .env_clear()
            .env("KAFKA_BROKERS", self.brokers.addresses().join(","))
            .env("KAFKA_TOPIC", TOPIC)
            .env("KAFKA_GROUP_ID", GROUP)
            .env("KAFKA_REQUEST_TIMEOUT", "3s")
            .env("STORE_URL", self.database()?.url())
            .env("STORE_TIMEOUT", "5s")
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null());
        let output = spawn_blocking(move || command.output()).await?.context("highwater")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        self.history.write(format_args!("highwater {}: {said}", args.join(" ")));
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(said)
    }
}
