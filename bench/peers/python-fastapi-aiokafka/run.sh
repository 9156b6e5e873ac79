#!/usr/bin/env bash
# One worker: the store is in the process.
cd "$(dirname "$0")" || exit
exec .venv/bin/uvicorn main:app --host 0.0.0.0 --port "${PORT:-8000}" --loop uvloop --http httptools --no-access-log
