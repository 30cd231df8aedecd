"""The HTTP/1.1 protocol of a worker: uvicorn's own, but for requests that ask for an upgrade.

A server may ignore an Upgrade that it does not speak (RFC 9110, 7.8), and this one speaks none.
Java's HttpClient, for one, asks for h2c with its first request. The parser ends a message at such a
head and takes the body for the next request; so the head is read again without the Upgrade.
"""

import httptools
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class HttpProtocol(HttpToolsProtocol):
    """Reads every request as plain HTTP/1.1."""

    def _should_upgrade(self) -> bool:
        """Keep uvicorn's callbacks off a head that is about to be read again."""
        return self._get_upgrade() is not None

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")
        except httptools.HttpParserUpgrade as exc:
            if self._get_upgrade() is None:  # CONNECT: what follows is no HTTP
                self.transport.close()
                return
            self.parser = httptools.HttpRequestParser(self)
            self.data_received(self._head_without_upgrade() + data[exc.args[0] :])

    def _head_without_upgrade(self) -> bytes:
        """Write the head that was read last."""
        method, version = self.scope["method"], self.scope["http_version"]
        lines = [b"%b %b HTTP/%b" % (method.encode(), self.url, version.encode())]
        lines += [b"%b: %b" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join((*lines, b"", b""))


def install_protocol() -> None:
    """Make uvicorn's choice of a protocol, which BentoML leaves to it, fall on this one."""
    auto.AutoHTTPProtocol = HttpProtocol
