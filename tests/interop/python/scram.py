"""Proton with Cyrus SASL: scram.py serve PORT FOLDER, whose configuration it reads; or scram.py client URL, a line a check."""
import sys

from proton import ConnectionException, Message
from proton.handlers import MessagingHandler
from proton.reactor import Container
from proton.utils import BlockingConnection
from report import report


class Server(MessagingHandler):
    """One queue for all addresses, for those who authenticate."""

    def __init__(self, port, folder):
        super().__init__()
        self.port, self.folder = port, folder
        self.queue, self.consumers = [], []

    def on_start(self, event):
        event.container.listen(f"127.0.0.1:{self.port}")

    def on_connection_bound(self, event):
        sasl = event.transport.sasl()
        sasl.config_name("proton-server")
        sasl.config_path(self.folder)
        event.transport.require_auth(True)

    def on_link_opening(self, event):
        link = event.link
        if link.is_sender:
            link.source.address = link.remote_source.address
            self.consumers.append(link)
        else:
            link.target.address = link.remote_target.address

    def on_link_closing(self, event):
        if event.link in self.consumers:
            self.consumers.remove(event.link)

    def on_message(self, event):
        self.queue.append(event.message)
        self.pump()

    def on_sendable(self, event):
        self.pump()

    def pump(self):
        for consumer in self.consumers:
            while self.queue and consumer.credit:
                consumer.send(self.queue.pop(0))


def login(url, mechanism, password):
    connection = BlockingConnection(url, timeout=20, user="user", password=password, allowed_mechs=mechanism)
    assert connection.conn.transport.sasl().mech == mechanism, connection.conn.transport.sasl().mech
    sender = connection.create_sender("cyrus")
    sender.send(Message(body=mechanism), timeout=20)
    receiver = connection.create_receiver("cyrus", credit=1)
    assert receiver.receive(timeout=20).body == mechanism
    receiver.accept()
    connection.close()


def refused(url):
    try:
        login(url, "SCRAM-SHA-256", "guess")
    except ConnectionException:
        return
    raise AssertionError("it was taken")


def client(url):
    report({
        "SCRAM-SHA-512": lambda: login(url, "SCRAM-SHA-512", "secret"),
        "SCRAM-SHA-256": lambda: login(url, "SCRAM-SHA-256", "secret"),
        "wrong password": lambda: refused(url),
    })


if sys.argv[1] == "serve":
    Container(Server(sys.argv[2], sys.argv[3])).run()
else:
    client(sys.argv[2])
