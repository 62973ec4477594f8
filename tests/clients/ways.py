"""The demo mesh with other ways in: the same products and policies, and an `auth` of the test's own."""

import hashlib
import re
import shutil

# How many products somebody discovers tells who it is.
WHO = "SELECT count(*) FROM mesh.products"


class Ways:
    """A copy of the demo mesh without its data, whose ways in a test declares."""

    def __init__(self, mesh, directory):
        self.directory = directory
        shutil.copytree(mesh, directory, ignore=shutil.ignore_patterns("lake"))
        self.file = directory / "mesh.yaml"
        self.before = self.file.read_text()

    def declare(self, ways, users=True):
        """Declares the ways in, beside the users of the demo or alone."""
        text = self.before if users else re.sub(r"(?ms)^auth:\n.*?(?=^\S|\Z)", "auth:\n", self.before)
        assert text.count("\nauth:\n") == 1
        # At once: the server may be looking.
        new = self.directory / "mesh.yaml.new"
        new.write_text(text.replace("\nauth:\n", f"\nauth:\n{ways}\n"))
        new.rename(self.file)

    def secret(self, name, content):
        (self.directory / "secrets" / name).write_text(content)
        return f'"${{file:secrets/{name}}}"'

    def token_hash(self, name, token):
        return self.secret(f"{name}.sha256", hashlib.sha256(token.encode()).hexdigest())


def who(connection):
    """How many products the caller discovers."""
    with connection.cursor() as cursor:
        cursor.execute(WHO)
        return cursor.fetchall()[0][0]
