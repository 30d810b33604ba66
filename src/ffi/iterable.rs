//! Iterates over arrays and `Traversable` objects as `foreach` does.

use ext_php_rs::ffi;
use ext_php_rs::types::Zval;
use ext_php_rs::zend::ce;

use super::bailout;
use super::room::Room;
use super::throw::{self, Thrown};
use super::value;

unsafe extern "C" {
    fn zend_iterator_dtor(iterator: *mut ffi::zend_object_iterator);
}

/// The bytes that a caller may keep of each element and its key, without the values themselves.
const KEPT: usize = 128;

/// `SUCCESS`
const SUCCESS: ffi::zend_result = 0;

/// Returns `true` if `foreach` uses the keys of the value: an array, or a `Traversable` object.
pub(crate) fn is_iterable(value: &Zval) -> bool {
    value.is_array() || is_traversable(value)
}

/// Returns `true` if a value is a `Traversable` object.
pub(crate) fn is_traversable(value: &Zval) -> bool {
    value
        .object()
        .is_some_and(|object| object.instance_of(ce::traversable()))
}

/// Calls `visit` with each key and element of an iterable value until it returns a value.
///
/// For an object this runs PHP code, which may have no end. An error means that this code has thrown
/// or bailed out, or that there are more elements than PHP's `memory_limit` has room for.
pub(crate) fn find<T>(
    iterable: &Zval,
    mut visit: impl FnMut(&Zval, &Zval) -> Option<T>,
) -> Result<Option<T>, Thrown> {
    if iterable.is_array() {
        return Ok(value::find_in_array(iterable, |key, element| {
            visit(&key.to_zval(), element)
        }));
    }
    let Some(mut iterator) = Iterator::of(iterable)? else {
        return Ok(None);
    };
    iterator.step(|iterator, funcs| {
        if let Some(rewind) = funcs.rewind {
            // SAFETY: see `step`.
            unsafe { rewind(iterator) };
        }
    })?;
    let mut room = Room::new();
    while let Some((key, element)) = iterator.current()? {
        room.take(KEPT)
            .map_err(|full| Thrown::celery(format!("The elements of the iterable take {full}.")))?;
        if let Some(found) = visit(&key, &element) {
            return Ok(Some(found));
        }
        iterator.step(|iterator, funcs| {
            if let Some(move_forward) = funcs.move_forward {
                // SAFETY: see `step`.
                unsafe { move_forward(iterator) };
            }
        })?;
    }
    Ok(None)
}

/// PHP's iterator of an object, which it keeps alive.
struct Iterator(*mut ffi::zend_object_iterator);

impl Iterator {
    /// Starts to iterate over an object. Returns `None` if that is not possible.
    fn of(iterable: &Zval) -> Result<Option<Self>, Thrown> {
        let Some(object) = iterable.object() else {
            return Ok(None);
        };
        let class = object.get_class_entry();
        let Some(start) = class.get_iterator else {
            return Ok(None);
        };
        let mut held = iterable.shallow_clone();
        // SAFETY: the function belongs to the object's own class. A null result means that it has
        // thrown.
        let iterator = bailout::catch(|| unsafe {
            start(std::ptr::from_ref(class).cast_mut(), &raw mut held, 0)
        })?;
        let iterator = (!iterator.is_null()).then(|| Iterator(iterator));
        if throw::is_pending() {
            return Err(Thrown::Pending);
        }
        Ok(iterator)
    }

    /// Runs one of the iterator's functions, which may be PHP code.
    fn step<T>(
        &mut self,
        run: impl FnOnce(*mut ffi::zend_object_iterator, &ffi::zend_object_iterator_funcs) -> T,
    ) -> Result<T, Thrown> {
        // SAFETY: the iterator lives as long as `self` and has functions, which take the iterator
        // itself.
        let done = bailout::catch(|| run(self.0, unsafe { &*(*self.0).funcs }))?;
        if throw::is_pending() {
            return Err(Thrown::Pending);
        }
        Ok(done)
    }

    /// Returns the current key and element, or `None` at the end.
    fn current(&mut self) -> Result<Option<(Zval, Zval)>, Thrown> {
        let valid = self.step(|iterator, funcs| match funcs.valid {
            // SAFETY: see `step`.
            Some(valid) => unsafe { valid(iterator) == SUCCESS },
            None => false,
        })?;
        if !valid {
            return Ok(None);
        }
        // The element is copied, because PHP code that runs meanwhile may move the iterator.
        let element = self.step(|iterator, funcs| {
            // SAFETY: see `step`; the engine returns null if it has thrown.
            let element = funcs
                .get_current_data
                .and_then(|data| unsafe { data(iterator).as_ref() });
            element.map(|element| element.dereference().shallow_clone())
        })?;
        let key = self.step(|iterator, funcs| {
            let mut key = Zval::new();
            match funcs.get_current_key {
                // SAFETY: see `step`; the key is copied into an initialised value.
                Some(get) => unsafe { get(iterator, &raw mut key) },
                // SAFETY: see `step`.
                None => key.set_long(unsafe { (*iterator).index }.cast_signed()),
            }
            key.dereference().shallow_clone()
        })?;
        Ok(element.map(|element| (key, element)))
    }
}

impl Drop for Iterator {
    fn drop(&mut self) {
        // The end of a generator runs PHP code. After a bailout the engine frees the iterator with
        // all its other memory.
        if !bailout::is_pending() {
            // SAFETY: the iterator is live, and this call gives up our reference.
            let _ = bailout::catch(|| unsafe { zend_iterator_dtor(self.0) });
        }
    }
}
