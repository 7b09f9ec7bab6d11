"""A receiver of Lockgate's events that deploys what a target comes to hold.

It believes what is signed and fresh, takes each event once, answers at once and deploys afterwards; what it has taken
is in a file, so a restart loses nothing.
"""

import json
import os
import shlex
import sqlite3
import subprocess
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from standardwebhooks import Webhook, WebhookVerificationError

#: As `lockgate webhooks add` showed it.
WEBHOOK = Webhook(os.environ["LOCKGATE_WEBHOOK_SECRET"])
#: What deploys. It finds MODEL_NAME and MODEL_TARGET in its environment; `lockgate ci deployed` tells it the version.
COMMAND = shlex.split(os.environ["DEPLOY_COMMAND"])
TARGET = os.environ.get("DEPLOY_TARGET", "stage:Production")
INBOX = os.environ.get("INBOX", "inbox.db")
#: What changes what a target holds.
MOVES = frozenset({"promotion.done", "rollback.done", "break_glass.used"})
MOST_BYTES = 100_000

arrived = threading.Event()
closing_down = threading.Event()


def inbox() -> sqlite3.Connection:
    """Open the file that has what was taken: each id once."""
    opened = sqlite3.connect(INBOX, timeout=10)
    opened.execute(
        "CREATE TABLE IF NOT EXISTS taken (id TEXT PRIMARY KEY, body BLOB NOT NULL, is_done INTEGER NOT NULL)"
    )
    return opened


def take(number: str, body: bytes) -> None:
    """Keep an event, if it is not the second time that it comes."""
    with closing(inbox()) as opened, opened:
        opened.execute("INSERT OR IGNORE INTO taken VALUES (?, ?, 0)", (number, body))
    arrived.set()


def work() -> None:
    """Deploy what was taken, in the order that it came in, until the receiver ends."""
    while not closing_down.is_set():
        arrived.wait(1)
        arrived.clear()
        with closing(inbox()) as opened:
            waiting = opened.execute("SELECT id, body FROM taken WHERE is_done = 0 ORDER BY rowid").fetchall()
            for number, body in waiting:
                deploy(json.loads(body))
                with opened:
                    opened.execute("UPDATE taken SET is_done = 1 WHERE id = ?", (number,))


def deploy(event: dict) -> None:
    """Run the command, if the event is about what is deployed from here."""
    data = event["data"]
    if event["type"] not in MOVES or data["outcome"] != "done" or data["target"] != TARGET:
        return
    about = {"MODEL_NAME": data["model"], "MODEL_TARGET": data["target"]}
    done = subprocess.run(COMMAND, env={**os.environ, **about}, check=False)  # noqa: S603 - whoever runs this chose it
    print(f"{event['type']} of {data['model']!r}: the deployment ended with {done.returncode}", flush=True)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Deploy as long as the receiver runs; what an earlier one left first."""
    worker = threading.Thread(target=work)
    worker.start()
    yield
    closing_down.set()
    arrived.set()
    await run_in_threadpool(worker.join)


app = FastAPI(lifespan=lifespan)


@app.post("/lockgate", status_code=204)
async def told(request: Request) -> Response:
    """Take an event. The signature is of the bytes as they came, so they are verified before anything reads them."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise HTTPException(413)
    try:
        WEBHOOK.verify(body, dict(request.headers))
    except WebhookVerificationError:
        raise HTTPException(401) from None
    await run_in_threadpool(take, request.headers["webhook-id"], body)
    return Response(status_code=204)
