//! Converts between points in time and what the clock of a zone shows.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// Returns a point in time as jiff has it.
pub(super) fn timestamp(moment: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(moment).ok()
}

/// Returns what the clock of a zone shows at a point in time.
pub(super) fn clock(zone: &TimeZone, moment: i64) -> Option<DateTime> {
    Some(zone.to_datetime(timestamp(moment)?))
}

/// Returns the points in time at which the clock of a zone shows `wall`: two where the clock is set
/// back, otherwise one. Where the clock skips `wall`, it is the time that the clock would have shown
/// without the change; Python's `zoneinfo` answers like that.
pub(super) fn moments(zone: &TimeZone, wall: DateTime) -> [Option<i64>; 2] {
    let at = |offset: Offset| {
        offset
            .to_timestamp(wall)
            .ok()
            .map(Timestamp::as_millisecond)
    };
    match zone.to_ambiguous_timestamp(wall).offset() {
        AmbiguousOffset::Unambiguous { offset } => [at(offset), None],
        AmbiguousOffset::Gap { before, .. } => [at(before), None],
        AmbiguousOffset::Fold { before, after } => [at(before), at(after)],
    }
}

/// Adds milliseconds to the time that a clock shows.
pub(super) fn plus(wall: DateTime, milliseconds: i64) -> Option<DateTime> {
    wall.checked_add(SignedDuration::from_millis(milliseconds))
        .ok()
}
