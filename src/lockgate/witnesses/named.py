"""Witnesses by their URI, as `lockgate server --checkpoint-to` names them."""

from pathlib import Path
from shlex import quote
from urllib.parse import parse_qs, unquote, urlsplit

from lockgate.errors import BadInput
from lockgate.witnesses.bucket import Bucket
from lockgate.witnesses.file import File
from lockgate.witnesses.git import Git
from lockgate.witnesses.webhook import Webhook
from lockgate.witnesses.witness import Witness

_KINDS = "a file (/path/checkpoints.jsonl), s3://BUCKET/PREFIX, https://HOST/PATH, or git:/path/of/repository"


def witness(uri: str) -> Witness:
    """Return the witness that a URI names.

    Raises:
        BadInput: if it names none.
    """
    url = urlsplit(uri)
    match url.scheme:
        case "" | "file":
            path = unquote(url.path) if url.scheme else uri
            if url.netloc or not path:
                raise BadInput(
                    f"{uri!r} names no file: write /path/checkpoints.jsonl or file:///path/checkpoints.jsonl."
                )
            return File(Path(path))
        case "s3":
            return _bucket(uri, url.netloc, url.path.strip("/"), url.query)
        case "http" | "https" if url.netloc:
            return Webhook(uri)
        case "git" if url.path and not url.netloc:
            return Git(Path(unquote(url.path)))
    raise BadInput(f"Checkpoints can't be kept at {uri[:200]!r}. What can keep them: {_KINDS}.")


def check_witness(uri: str) -> None:
    """Refuse a URI that names no witness, that a list of them can't hold, or that is of a file which can't be made.

    Raises:
        BadInput: saying what can be named.
    """
    named = witness(uri)
    if uri.split() != [uri]:
        raise BadInput(f"{uri!r} has a blank in it. Write it as file:///... with %20, or choose another path.")
    if isinstance(named, File):
        _check_file(named.path)


def _check_file(path: Path) -> None:
    folder = path.absolute().parent
    try:
        is_folder, has_folder = path.is_dir(), folder.is_dir()
    except OSError as error:
        raise BadInput(f"No checkpoints can be kept in {path}: {error.strerror}. Name another file.") from None
    if is_folder:
        raise BadInput(f"Checkpoints are kept in a file, and {path} is a folder. Name a file in it.")
    if not has_folder:
        raise BadInput(
            f"No checkpoints can be kept in {path}: its folder is not there. Make it "
            f"(`mkdir -p {quote(str(folder))}`), mount it if it is on another machine, or name another file."
        )


def _bucket(uri: str, bucket: str, prefix: str, query: str) -> Bucket:
    told = parse_qs(query, keep_blank_values=True)
    days = told.pop("retain_days", [None])[-1]
    if not bucket or told or (days is not None and not (days.isdecimal() and int(days) > 0)):
        raise BadInput(f"{uri!r} names no bucket: write s3://BUCKET/PREFIX, or s3://BUCKET/PREFIX?retain_days=3650.")
    return Bucket(bucket, prefix, int(days) if days is not None else None)
