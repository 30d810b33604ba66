//! Iterators made by the extension, for `foreach` and for methods that return a `Traversable`.
//!
//! PHP's own `InternalIterator` wraps an iterator for PHP code. Leaving a loop drops the
//! [`Steps`], so a subscription in them ends.

use std::alloc::Layout;
use std::cell::Cell;
use std::ptr;

use ext_php_rs::alloc::emalloc;
use ext_php_rs::ffi;
use ext_php_rs::types::Zval;
use ext_php_rs::zend::ClassEntry;

use super::bailout;
use super::call::Call;
use super::throw::{self, Kind, Thrown};

unsafe extern "C" {
    fn zend_iterator_init(iterator: *mut ffi::zend_object_iterator);
    fn zend_create_internal_iterator_zval(made: *mut Zval, object: *mut Zval) -> ffi::zend_result;
}

/// `SUCCESS`
const SUCCESS: ffi::zend_result = 0;
/// `FAILURE`
const FAILURE: ffi::zend_result = -1;

/// The elements of an iterator, one after another.
///
/// A step may run PHP code and may wait. The iterator calls nothing while a step is running, because
/// it takes the steps out of itself meanwhile.
pub(crate) trait Steps {
    /// Returns the next key and element, or `None` at the end.
    fn next(&mut self) -> Result<Option<(Zval, Zval)>, Thrown>;

    /// Goes back to the first element. Throws if that is not possible any more.
    fn rewind(&mut self) -> Result<(), Thrown>;
}

/// A class whose objects `foreach` iterates over.
pub(crate) trait Iterate {
    /// Returns the elements of an object. They may hold a clone of it.
    fn steps(object: &Zval) -> Result<Box<dyn Steps>, Thrown>;
}

/// The engine's iterator, which begins with the engine's part.
#[repr(C)]
struct Iterator {
    engine: ffi::zend_object_iterator,
    /// `None` while a step is running.
    steps: Option<Box<dyn Steps>>,
    current: Option<(Zval, Zval)>,
}

thread_local! {
    /// The steps that the next call of [`wrap`] takes.
    static NEXT: Cell<Option<Box<dyn Steps>>> = const { Cell::new(None) };
}

/// Lets the objects of a class be iterated over. Call it after the class was declared, and before
/// its children are.
pub(crate) fn iterate<T: Iterate>(class: &mut ClassEntry) {
    class.get_iterator = Some(start::<T>);
}

/// Returns an iterator from a method of a class that was given to [`iterate`].
pub(crate) fn give(call: &mut Call<'_>, steps: Box<dyn Steps>) -> Result<(), Thrown> {
    let mut object = Zval::new();
    object.set_object(call.object()?);
    NEXT.set(Some(steps));
    let mut made = Zval::new();
    // SAFETY: the method that is running belongs to a class with an iterator.
    let outcome = bailout::catch(|| unsafe {
        zend_create_internal_iterator_zval(&raw mut made, &raw mut object)
    });
    NEXT.take();
    if outcome? != SUCCESS || throw::is_pending() {
        return Err(Thrown::Pending);
    }
    call.give(made);
    Ok(())
}

/// Starts an iteration over an object, or over the steps that [`give`] has left.
#[expect(
    clippy::cast_ptr_alignment,
    reason = "PHP's memory is aligned for every type"
)]
unsafe extern "C" fn start<T: Iterate>(
    _class: *mut ClassEntry,
    object: *mut Zval,
    by_reference: i32,
) -> *mut ffi::zend_object_iterator {
    if by_reference != 0 {
        Thrown::new(
            Kind::Error,
            "An iterator cannot be used with foreach by reference.",
        )
        .throw();
        return ptr::null_mut();
    }
    // SAFETY: the engine passes a live object.
    let steps = NEXT
        .take()
        .map_or_else(|| T::steps(unsafe { &*object }), Ok);
    let steps = match steps {
        Ok(steps) => steps,
        Err(thrown) => {
            thrown.throw();
            return ptr::null_mut();
        }
    };
    let made = bailout::catch(|| emalloc(Layout::new::<Iterator>()).cast::<Iterator>());
    let Ok(made) = made else {
        return ptr::null_mut();
    };
    // SAFETY: the memory is as large as the iterator. The engine's part is set by the engine, except
    // for the functions. The engine frees the memory after `end`.
    unsafe {
        (&raw mut (*made).steps).write(Some(steps));
        (&raw mut (*made).current).write(None);
        let engine = &raw mut (*made).engine;
        engine.write_bytes(0, 1);
        zend_iterator_init(engine);
        (*engine).funcs = &raw const FUNCTIONS.0;
        engine
    }
}

struct Functions(ffi::zend_object_iterator_funcs);

// SAFETY: the struct holds addresses of functions only.
unsafe impl Sync for Functions {}

static FUNCTIONS: Functions = Functions(ffi::zend_object_iterator_funcs {
    dtor: Some(end),
    valid: Some(valid),
    get_current_data: Some(current_element),
    get_current_key: Some(current_key),
    move_forward: Some(move_forward),
    rewind: Some(rewind),
    invalidate_current: None,
    get_gc: None,
});

/// Returns the iterator that the engine means.
///
/// # Safety
/// The pointer must come from [`start`], and no other reference may be in use.
unsafe fn own<'a>(iterator: *mut ffi::zend_object_iterator) -> &'a mut Iterator {
    // SAFETY: the engine's part is the first field.
    unsafe { &mut *iterator.cast::<Iterator>() }
}

/// Runs a step, and sets the current element to its answer.
unsafe fn run(
    iterator: *mut ffi::zend_object_iterator,
    step: impl FnOnce(&mut dyn Steps) -> Result<Option<(Zval, Zval)>, Thrown>,
) {
    // SAFETY: the engine passes a live iterator, and keeps it alive while the step runs. The
    // references end before the step begins.
    let (steps, old) = unsafe { (own(iterator).steps.take(), own(iterator).current.take()) };
    // The element may hold the last reference to an object, whose destructor then runs.
    if bailout::catch(|| drop(old)).is_err() {
        return;
    }
    let Some(mut steps) = steps else {
        Thrown::celery("This iterator is already waiting for its next element.").throw();
        return;
    };
    let outcome = step(&mut *steps);
    // SAFETY: as above.
    let this = unsafe { own(iterator) };
    this.steps = Some(steps);
    match outcome {
        Ok(current) => this.current = current,
        Err(thrown) => thrown.throw(),
    }
}

unsafe extern "C" fn end(iterator: *mut ffi::zend_object_iterator) {
    // SAFETY: the engine frees the iterator. Its fields are taken out and dropped here.
    let fields = unsafe { (own(iterator).steps.take(), own(iterator).current.take()) };
    // If it bails out, the bailout continues after the call has ended.
    let _ = bailout::catch(|| drop(fields));
}

unsafe extern "C" fn valid(iterator: *mut ffi::zend_object_iterator) -> ffi::zend_result {
    // SAFETY: see `run`.
    if unsafe { own(iterator).current.is_some() } {
        SUCCESS
    } else {
        FAILURE
    }
}

unsafe extern "C" fn current_element(iterator: *mut ffi::zend_object_iterator) -> *mut Zval {
    // SAFETY: see `run`. The element stays in place until the next step.
    let current = unsafe { own(iterator).current.as_mut() };
    current.map_or(ptr::null_mut(), |(_, element)| ptr::from_mut(element))
}

unsafe extern "C" fn current_key(iterator: *mut ffi::zend_object_iterator, key: *mut Zval) {
    // SAFETY: see `run`. The engine passes a place that holds no value yet.
    unsafe {
        let current = own(iterator).current.as_ref();
        key.write(current.map_or_else(Zval::null, |(key, _)| key.shallow_clone()));
    }
}

unsafe extern "C" fn move_forward(iterator: *mut ffi::zend_object_iterator) {
    // SAFETY: see `run`.
    unsafe { run(iterator, |steps| steps.next()) };
}

unsafe extern "C" fn rewind(iterator: *mut ffi::zend_object_iterator) {
    // SAFETY: see `run`.
    unsafe {
        run(iterator, |steps| {
            steps.rewind()?;
            steps.next()
        });
    }
}
