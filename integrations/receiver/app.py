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
#: A deployment that failed is tried again after so long, so often.
AGAIN_SECONDS = 30
MOST_ATTEMPTS = 10

arrived = threading.Event()
closing_down = threading.Event()


def inbox() -> sqlite3.Connection:
    """Open the file that has what was taken: each id once."""
    opened = sqlite3.connect(INBOX, timeout=10)
    opened.execute(
        "CREATE TABLE IF NOT EXISTS taken (id TEXT PRIMARY KEY, body BLOB NOT NULL, is_done INTEGER NOT NULL, "
        "attempts INTEGER NOT NULL DEFAULT 0)"
    )
    return opened


def take(number: str, body: bytes) -> None:
    """Keep an event, if it is not the second time that it comes."""
    with closing(inbox()) as opened, opened:
        opened.execute("INSERT OR IGNORE INTO taken (id, body, is_done) VALUES (?, ?, 0)", (number, body))
    arrived.set()


def work() -> None:
    """Deploy what was taken, in the order that it came in, until the receiver ends; try what failed again."""
    while not closing_down.is_set():
        arrived.wait(AGAIN_SECONDS)
        arrived.clear()
        with closing(inbox()) as opened:
            waiting = "SELECT id, body FROM taken WHERE is_done = 0 AND attempts < ? ORDER BY rowid"
            for number, body in opened.execute(waiting, (MOST_ATTEMPTS,)).fetchall():
                is_done = deploy(json.loads(body))
                with opened:
                    opened.execute(
                        "UPDATE taken SET is_done = ?, attempts = attempts + 1 WHERE id = ?", (is_done, number)
                    )


def deploy(event: dict) -> bool:
    """Run the command, if the event is about what is deployed from here; say whether that is done."""
    data = event["data"]
    if event["type"] not in MOVES or data["outcome"] != "done" or data["target"] != TARGET:
        return True
    about = {"MODEL_NAME": data["model"], "MODEL_TARGET": data["target"]}
    try:
        ended = subprocess.run(COMMAND, env={**os.environ, **about}, check=False).returncode  # noqa: S603 - whoever runs this chose it
    except (OSError, ValueError) as error:  # It is not there, or the name is one that no environment can hold.
        ended = str(error)
    print(f"{event['type']} of {data['model']!r}: the deployment ended with {ended}", flush=True)
    return ended == 0


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
