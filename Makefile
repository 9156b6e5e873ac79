# How `sam build` makes the functions of template.yaml (BuildMethod: makefile): they are one static binary.
# samconfig.toml has it built here rather than in a copy of this directory, so that target/ is used again.
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

build-EventLog build-EventLogSweep build-EventLogMigrate:
	target=$$(scripts/musl-target.sh) && \
	cargo build --locked --release --no-default-features --features lambda --bin bootstrap --target "$$target" && \
	cp "$(TARGET_DIR)/$$target/release/bootstrap" "$(ARTIFACTS_DIR)/bootstrap"

.PHONY: build-EventLog build-EventLogSweep build-EventLogMigrate
