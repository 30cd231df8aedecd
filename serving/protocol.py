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
        """Keep uvicorn's callbacks off a head that will be read again; asked at upgrades alone."""
        return True

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and a new one after each head that asks for an upgrade."""
        self._unset_keepalive_if_required()
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as exc:
                if self.parser.get_method() == b"CONNECT":  # what follows would be no HTTP
                    self.send_400_response("Tunnels are not supported.")
                    return
                data = self._head_without_upgrade() + data[exc.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                # As uvicorn sets it on its own.
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            except httptools.HttpParserError:
                self.logger.warning("Invalid HTTP request received.")
                self.send_400_response("Invalid HTTP request received.")
                return

    def _head_without_upgrade(self) -> bytes:
        """Write the head that was read last."""
        method, version = self.scope["method"], self.scope["http_version"]
        lines = [b"%b %b HTTP/%b" % (method.encode(), self.url, version.encode())]
        lines += [b"%b: %b" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join((*lines, b"", b""))


def install_protocol() -> None:
    """Make uvicorn's choice of a protocol, which BentoML leaves to it, fall on this one."""
    auto.AutoHTTPProtocol = HttpProtocol
