"""Install the provider that tests sign in with."""

from tests.provider import install

install()
