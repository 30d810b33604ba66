//! `shutdown`: a warm stop. It is never answered, as in Celery.

use crate::control::arguments::Arguments;
use crate::control::node::Node;
use crate::printable::one_line;
use crate::shutdown::Phase;

pub(super) fn run(node: &Node, arguments: Arguments<'_>) {
    let message = arguments.texts("msg").first().copied();
    let message = message.unwrap_or("Got shutdown from remote");
    tracing::warn!("{}", one_line(message));
    node.shutdown.advance(Phase::Warm);
}
