"""Checks the stand-in for RabbitMQ by RabbitMQ's client for Python; a line a check."""

import sys
from threading import Timer

from rabbitmq_amqp_python_client import (
    AddressHelper,
    AMQPMessagingHandler,
    ClassicQueueSpecification,
    Environment,
    ExchangeSpecification,
    ExchangeToQueueBindingSpecification,
    ExchangeType,
    Message,
    QuorumQueueSpecification,
    StreamSpecification,
    ValidationCodeException,
)
from report import report

environment = Environment(uri=f"amqp://guest:guest@127.0.0.1:{sys.argv[1]}/")
connection = environment.connection()
connection.dial()
management = connection.management()


def same(what, got, want):
    if got != want:
        raise AssertionError(f"{what} is {got!r}, not {want!r}")


def refused(call, text):
    try:
        call()
    except ValidationCodeException as error:
        return same("refusal", text in str(error), True)
    raise AssertionError(f"not refused: {text}")


def queues():
    name = "q 1/é"
    management.declare_queue(QuorumQueueSpecification(name=name))
    management.declare_queue(QuorumQueueSpecification(name=name))
    refused(lambda: management.declare_queue(ClassicQueueSpecification(name=name)), "ErrPreconditionFailed")
    refused(lambda: management.declare_queue(StreamSpecification(name="stream")), "400")
    refused(lambda: management.queue_info("none"), "404")
    publisher = connection.publisher(AddressHelper.queue_address(name))
    publisher.publish(Message(body=b"one"))
    same("messages", int(management.queue_info(name).message_count), 1)
    same("purged", management.purge_queue(name), 1)
    publisher.close()
    management.delete_queue(name)


def exchanges():
    management.declare_exchange(ExchangeSpecification(name="ex", exchange_type=ExchangeType.topic))
    management.declare_queue(ClassicQueueSpecification(name="bound"))
    binding = management.bind(
        ExchangeToQueueBindingSpecification(source_exchange="ex", destination_queue="bound", binding_key="a.*"))
    publisher = connection.publisher(AddressHelper.exchange_address("ex", "a.b"))
    for body in [b"one", b"two", b"three"]:
        publisher.publish(Message(body=body))
    publisher.close()
    same("messages", int(management.queue_info("bound").message_count), 3)
    management.unbind(binding)
    management.delete_exchange("ex")


def consumer():
    found = []

    class Handler(AMQPMessagingHandler):
        def on_amqp_message(self, event):
            found.append(bytes(event.message.body))
            settle = self.delivery_context
            [settle.requeue, settle.discard, settle.accept, settle.accept][len(found) - 1](event)
            if len(found) == 4:
                consuming.stop()

    # Its stop ends all that the connection does.
    other = environment.connection()
    other.dial()
    consuming = other.consumer(AddressHelper.queue_address("bound"), message_handler=Handler(), credit=1)
    timer = Timer(20, consuming.stop)
    timer.start()
    consuming.run()
    timer.cancel()
    same("bodies", sorted(found), sorted([b"one", b"one", b"two", b"three"]))


report({"queues": queues, "exchanges": exchanges, "consumer": consumer})
