"""A client of a RabbitMQ that is neither of the PHP libraries: prepares it for a case, and reads what
was posted.

    broker.py PORT

Each line of input is a command and its arguments as a JSON list. Each is answered by a line of JSON.
"""

import base64
import json
import sys
import time

import amqp

# The names that cases use. `reset` deletes them.
EXCHANGES = ["celery", "celeryresults", "market-pecl", "market-php-amqplib", "shop"]
QUEUES = ["celery", "mail", "orders"]

connection = amqp.Connection(f"127.0.0.1:{sys.argv[1]}")
connection.connect()
channel = connection.channel()


def exists(declare):
    """Returns whether a passive declaration finds something. One that does not closes its channel."""
    look = connection.channel()
    try:
        declare(look)
    except amqp.exceptions.NotFound:
        return False
    look.close()
    return True


def reset():
    for queue in QUEUES:
        channel.queue_delete(queue)
    for exchange in EXCHANGES:
        channel.exchange_delete(exchange)


def declare(queue, exchange, key, arguments):
    """Declares a queue and binds it to a direct exchange, as a Celery worker does."""
    channel.queue_declare(queue, durable=True, auto_delete=False, arguments=arguments)
    channel.exchange_declare(exchange, "direct", durable=True, auto_delete=False)
    channel.queue_bind(queue, exchange, key)


def there():
    """Returns the queues and the exchanges that exist."""
    return {
        "queues": [name for name in QUEUES if exists(lambda look, name=name: look.queue_declare(name, passive=True))],
        "exchanges": [
            name
            for name in EXCHANGES
            if exists(lambda look, name=name: look.exchange_declare(name, "direct", passive=True))
        ],
    }


def take(patience):
    """Takes all messages out of the queues. Waits up to `patience` seconds for the first."""
    end = time.monotonic() + patience
    while True:
        found = {}
        for queue in there()["queues"]:
            while message := channel.basic_get(queue, no_ack=True):
                found.setdefault(queue, []).append(described(message))
        if found or time.monotonic() >= end:
            return found
        time.sleep(0.02)


def described(message):
    body = message.body if isinstance(message.body, bytes) else message.body.encode()
    properties = dict(message.properties)
    headers = properties.pop("application_headers", {})
    return {
        "body": base64.b64encode(body).decode(),
        "headers": headers,
        "properties": properties,
        "exchange": message.delivery_info["exchange"],
        "routing_key": message.delivery_info["routing_key"],
    }


def reply(way, task, queue, document):
    """Sends a result as a worker does: to the queue of replies, or as Celery 3's backend `amqp` did."""
    message = amqp.Message(
        json.dumps(document), content_type="application/json", content_encoding="utf-8", correlation_id=task
    )
    if way == "rpc":
        channel.basic_publish(message, "", queue)
    else:
        channel.basic_publish(message, "celeryresults", task)


def declare_results():
    """Declares the exchange of Celery 3's backend `amqp`."""
    channel.exchange_declare("celeryresults", "direct", durable=True, auto_delete=False)


COMMANDS = {command.__name__: command for command in (reset, declare, there, take, reply, declare_results)}

for line in sys.stdin:
    name, *arguments = json.loads(line)
    print(json.dumps(COMMANDS[name](*arguments)), flush=True)
