//! `sendTask()` and `send()`.

use celery_protocol::RawValue;
use ext_php_rs::types::Zval;

use super::prepared::Prepared;
use super::settings;
use super::state::Client;
use crate::broker::{self, How};
use crate::classes::canvas::parts::Arguments;
use crate::classes::durations;
use crate::classes::exceptions::PUBLISH_FAILED;
use crate::classes::retry_policy::RetryPolicy;
use crate::classes::{options, signature};
use crate::client::Config;
use crate::ffi::call::Call;
use crate::ffi::throw::Thrown;
use crate::ffi::value;
use crate::replies::Wanted;
use crate::values::encode;
use crate::{errors, sending};

/// The parameters of `sendTask()` before the options.
const BEFORE: usize = 3;

/// Implements `sendTask()`.
pub(super) fn send_task(call: &mut Call<'_>) -> Result<(), Thrown> {
    // The state is copied out of the object first. Encoding the arguments runs PHP code.
    let client = call.state::<Client>()?;
    let (config, closures) = (client.config()?, client.closures());
    let how = how(call, BEFORE + options::COUNT, &config)?;
    let task = call
        .argument(0)
        .map_or_else(Zval::null, Zval::shallow_clone);
    signature::check_name(call, 0, &task)?;
    let name = value::bytes(&task).and_then(|name| std::str::from_utf8(name).ok());
    let name = name.unwrap_or_default();
    let (args, kwargs) = encoded(call)?;

    if options::are_none(call, BEFORE) && sending::are_plain(&config, &closures) {
        let plain = Prepared::plain(&config, name, args.clone(), kwargs.clone())?;
        if let Some(prepared) = plain {
            let result = publish(&config, prepared, &how)?;
            call.give(result);
            return Ok(());
        }
    }
    let given = value::map(options::read(call, BEFORE)?)?;
    let empty = crate::values::raw("{}".to_owned())?;
    let form = sending::call_form(name, &args, kwargs.as_deref().unwrap_or(&empty), &given)?;
    let prepared = Prepared::form(&config, &closures, &form)?;
    let result = publish(&config, prepared, &how)?;
    call.give(result);
    Ok(())
}

/// Returns `$args` and `$kwargs` as JSON; `None` for keyword arguments that are empty.
fn encoded(call: &Call<'_>) -> Result<(Box<RawValue>, Option<Box<RawValue>>), Thrown> {
    let given = |index| {
        let given = call.argument(index).map(Zval::shallow_clone);
        given.filter(|array| array.array().is_some_and(|array| !array.is_empty()))
    };
    let args = match given(1) {
        Some(args) if !value::is_list(&args) => return Err(call.refuse(1, "must be a list")),
        Some(args) => encode::encode(&args, "args")?,
        None => crate::values::raw("[]".to_owned())?,
    };
    let kwargs = match given(2) {
        Some(kwargs) => {
            Arguments::check_names(call, 2, &kwargs)?;
            Some(encode::encode(&kwargs, "kwargs")?)
        }
        None => None,
    };
    Ok((args, kwargs))
}

/// Implements `send()`.
pub(super) fn send(call: &mut Call<'_>) -> Result<(), Thrown> {
    let client = call.state::<Client>()?;
    let (config, closures) = (client.config()?, client.closures());
    let how = how(call, 1, &config)?;
    let canvas = call
        .argument(0)
        .map_or_else(Zval::null, Zval::shallow_clone);
    let prepared = Prepared::canvas(&config, &closures, &canvas)?;
    let result = publish(&config, prepared, &how)?;
    call.give(result);
    Ok(())
}

/// Reads the parameters `$timeout`, `$retry` and `$publish`, the first of which is at `first`.
pub(crate) fn how(call: &Call<'_>, first: usize, config: &Config) -> Result<How, Thrown> {
    let default = || Some(config.retry.unwrap_or_default());
    let retry = match call.argument(first + 1) {
        Some(retry) if retry.is_object() => RetryPolicy::of(retry),
        Some(retry) if retry.is_false() => None,
        _ => default(),
    };
    let mode = match call.argument(first + 2).filter(|mode| !mode.is_null()) {
        Some(mode) => settings::publish(call, first + 2, mode)?,
        None => match config.publish {
            Some(mode) => mode,
            None => crate::settings::current()
                .publish
                .clone()
                .map_err(Thrown::celery)?,
        },
    };
    Ok(How {
        mode,
        timeout: durations::wait(call, first)?.or(config.post_timeout()),
        limits: config.limits(),
        retry,
        failure: PUBLISH_FAILED,
    })
}

/// Publishes what is prepared, and returns its result.
fn publish(config: &Config, mut prepared: Prepared, how: &How) -> Result<Zval, Thrown> {
    let wanted = Wanted::of(prepared.take_wanted())?;
    prepared.begin(config, how)?;
    match prepared.messages.as_slice() {
        [only] => broker::publish_as(&config.broker, only, &wanted, how)?,
        several => {
            let failures = broker::failures_of_batch(&config.broker, several, &wanted, how)?;
            if !failures.is_empty() {
                return Err(errors::of_batch(
                    how.failure,
                    &config.broker,
                    failures,
                    several.len(),
                ));
            }
        }
    }
    Ok(prepared.result)
}
