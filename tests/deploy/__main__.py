"""Fetch what the tests of deploy/ run."""

from tests.deploy import install

install()
