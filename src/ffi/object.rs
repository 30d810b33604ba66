//! Objects with Rust state, made so that userland subclasses, `clone` and `unserialize` work.
//!
//! The module corrects four points of ext-php-rs 0.16.4:
//!
//! * An object is created for the requested class, so that a subclass keeps its properties, and its
//!   state is always initialised.
//! * A clone has the class and the properties of its original.
//! * Properties are PHP's own, whose names may be any bytes. No state has properties in Rust.
//! * PHP's cycle collector sees the PHP value that a state holds.

use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::ptr;

use ext_php_rs::boxed::ZBox;
use ext_php_rs::class::RegisteredClass;
use ext_php_rs::ffi;
use ext_php_rs::flags::ClassFlags;
use ext_php_rs::types::{ZendClassObject, ZendHashTable, ZendObject, Zval};
use ext_php_rs::zend::{ClassEntry, ZendObjectHandlers};

use super::bailout;
use super::throw::{self, Kind, Thrown};

unsafe extern "C" {
    fn zend_std_get_gc(
        object: *mut ZendObject,
        table: *mut *mut Zval,
        count: *mut c_int,
    ) -> *mut ZendHashTable;
    fn zend_std_get_constructor(object: *mut ZendObject) -> *mut ffi::zend_function;
    fn zend_enum_get_case_cstr(
        class: *mut ClassEntry,
        name: *const std::ffi::c_char,
    ) -> *mut ZendObject;
    fn zend_get_gc_buffer_create() -> *mut GcBuffer;
    fn zend_get_gc_buffer_grow(buffer: *mut GcBuffer);
}

/// The struct `zend_get_gc_buffer`: the values that an object reports to the collector.
#[repr(C)]
struct GcBuffer {
    next: *mut Zval,
    end: *mut Zval,
    start: *mut Zval,
}

/// The Rust state of a PHP object.
pub(crate) trait State: RegisteredClass + Clone + Default {
    /// Returns the PHP value that the state holds.
    fn held(&self) -> Option<&Held>;
}

/// A PHP value inside Rust state. Each state, and each clone of it, holds a reference of its own.
pub(crate) struct Held(Zval);

impl Held {
    pub(crate) fn new(value: Zval) -> Self {
        Held(value)
    }

    /// Returns the value, with a reference for the caller.
    pub(crate) fn get(&self) -> Zval {
        self.0.shallow_clone()
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        Held(self.get())
    }
}

/// Implements the trait that ext-php-rs requires of a state type, for a class that this crate
/// declares itself.
///
/// A third argument names the field with the PHP value that the state holds, an `Option<Held>`.
macro_rules! state {
    ($type:ty, $class:literal $(, $held:ident)?) => {
        impl ext_php_rs::class::RegisteredClass for $type {
            const CLASS_NAME: &'static str = $class;
            const BUILDER_MODIFIER: Option<
                fn(ext_php_rs::builders::ClassBuilder) -> ext_php_rs::builders::ClassBuilder,
            > = None;
            const EXTENDS: Option<ext_php_rs::class::ClassEntryInfo> = None;
            const IMPLEMENTS: &'static [ext_php_rs::class::ClassEntryInfo] = &[];

            fn get_metadata() -> &'static ext_php_rs::class::ClassMetadata<Self> {
                static METADATA: ext_php_rs::class::ClassMetadata<$type> =
                    ext_php_rs::class::ClassMetadata::new(&[]);
                &METADATA
            }

            fn method_builders() -> Vec<(
                ext_php_rs::builders::FunctionBuilder<'static>,
                ext_php_rs::flags::MethodFlags,
            )> {
                Vec::new()
            }

            fn constructor() -> Option<ext_php_rs::class::ConstructorMeta<Self>> {
                None
            }

            fn constants() -> &'static [(
                &'static str,
                &'static dyn ext_php_rs::convert::IntoZvalDyn,
                ext_php_rs::describe::DocComments,
                ext_php_rs::flags::ConstantFlags,
            )] {
                &[]
            }
        }
        impl $crate::ffi::object::State for $type {
            fn held(&self) -> Option<&$crate::ffi::object::Held> {
                let held = None;
                $(let held = held.or(self.$held.as_ref());)?
                held
            }
        }
    };
}
pub(crate) use state;

/// Whether objects of a class may be serialized.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serializable {
    Yes,
    /// The objects hold credentials, so they must not be serialized.
    No,
}

/// Gives a class just declared (and its future subclasses) objects that carry a `T`.
pub(crate) fn attach<T: State>(class: &'static mut ClassEntry, serializable: Serializable) {
    class.__bindgen_anon_2.create_object = Some(create::<T>);
    if serializable == Serializable::No {
        class.ce_flags |= ClassFlags::NotSerializable.bits();
    }
    let metadata = T::get_metadata();
    metadata.set_ce(class);
    let handlers = std::ptr::from_ref::<ZendObjectHandlers>(metadata.handlers()).cast_mut();
    // SAFETY: the handlers were allocated for this class alone, and during MINIT no object uses
    // them yet. PHP's own handlers, which replace those for properties in Rust, are plain C data.
    unsafe {
        let (offset, free_obj) = ((*handlers).offset, (*handlers).free_obj);
        ptr::copy_nonoverlapping(&raw const ffi::std_object_handlers, handlers, 1);
        (*handlers).offset = offset;
        (*handlers).free_obj = free_obj;
        (*handlers).clone_obj = Some(clone::<T>);
        (*handlers).get_gc = Some(get_gc::<T>);
    }
}

/// Refuses `clone` for the objects of a class that was given to [`attach`].
pub(crate) fn refuse_clones<T: State>() {
    let handlers = ptr::from_ref::<ZendObjectHandlers>(T::get_metadata().handlers()).cast_mut();
    // SAFETY: the handlers belong to this class alone, and during MINIT no object uses them yet.
    unsafe { (*handlers).clone_obj = None };
}

/// Like [`attach`], for a class that only the extension's own classes extend.
pub(crate) fn attach_closed<T: State>(class: &'static mut ClassEntry, serializable: Serializable) {
    let class = ptr::from_mut(class);
    // SAFETY: the class was just declared, and no other reference to it is in use.
    unsafe {
        attach::<T>(&mut *class, serializable);
        (*class).__bindgen_anon_2.create_object = Some(create_closed::<T>);
        let handlers = ptr::from_ref::<ZendObjectHandlers>(T::get_metadata().handlers());
        (*handlers.cast_mut()).get_constructor = Some(constructor_unless_thrown);
    }
}

/// Creates an object like [`create`]. For a class written in PHP it throws as well.
unsafe extern "C" fn create_closed<T: State>(class: *mut ClassEntry) -> *mut ZendObject {
    // SAFETY: the engine passes the class being instantiated.
    unsafe {
        if is_userland(&*class) {
            let name = (*class).name().unwrap_or_default();
            let why = format!(
                "Class {name} cannot extend {}: only classes of the extension do.",
                T::CLASS_NAME
            );
            Thrown::new(Kind::Error, why).throw();
        }
        create::<T>(class)
    }
}

/// Returns the constructor of a class, or null if the creation of the object has thrown.
unsafe extern "C" fn constructor_unless_thrown(object: *mut ZendObject) -> *mut ffi::zend_function {
    // SAFETY: the engine passes a live object.
    unsafe {
        if is_userland(&*(*object).ce) && throw::is_pending() {
            ptr::null_mut()
        } else {
            zend_std_get_constructor(object)
        }
    }
}

/// Returns `true` if a class is written in PHP.
fn is_userland(class: &ClassEntry) -> bool {
    u32::try_from(class.type_) == Ok(ffi::ZEND_USER_FUNCTION)
}

/// Creates an object of a class of the extension, by its whole name, without calling a constructor.
/// Its typed properties are uninitialised.
pub(crate) fn new(class: &str) -> Result<Zval, Thrown> {
    let class = ClassEntry::try_find(class)
        .ok_or_else(|| Thrown::new(Kind::Error, format!("Class {class} does not exist.")))?;
    let made = bailout::catch(|| class.new())?;
    let mut made = ManuallyDrop::new(made);
    let mut value = Zval::new();
    value.set_object(&mut made);
    drop(ManuallyDrop::into_inner(made));
    if throw::is_pending() {
        return Err(Thrown::Pending);
    }
    Ok(value)
}

/// Creates an object of a class of PHP, and calls its constructor.
pub(crate) fn construct(class: &str, arguments: &[Zval]) -> Result<Zval, Thrown> {
    let made = new(class)?;
    if let Some(object) = made.object() {
        super::invoke::method(object, "__construct", arguments)?;
    }
    Ok(made)
}

/// Returns a case of an enum of the extension, by the whole name of the enum.
pub(crate) fn case(name: &str, case: &str) -> Option<Zval> {
    let class = ptr::from_ref(ClassEntry::try_find(name)?).cast_mut();
    let case = std::ffi::CString::new(case).ok()?;
    // SAFETY: the enum is declared, and has this case. The engine keeps the object, and returns it
    // without a reference of ours.
    let found =
        bailout::catch(|| unsafe { zend_enum_get_case_cstr(class, case.as_ptr()).as_mut() });
    let mut value = Zval::new();
    value.set_object(found.ok()??);
    Some(value)
}

/// Returns a copy of an object: properties and Rust state.
pub(crate) fn copy(object: &ZendObject) -> Result<Zval, Thrown> {
    let original = ptr::from_ref(object).cast_mut();
    // SAFETY: a live object has handlers. The engine returns a new object with one reference, which
    // the value takes over.
    let copy = bailout::catch(|| unsafe {
        let clone = (*object.handlers).clone_obj?;
        clone(original).as_mut()
    })?;
    let Some(copy) = copy else {
        return Err(Thrown::new(Kind::Error, "This object cannot be cloned."));
    };
    let mut value = Zval::new();
    value.set_object(copy);
    copy.gc.refcount -= 1;
    Ok(value)
}

/// Returns the Rust state of an object. Hold it only while no PHP code can run.
pub(crate) fn state_of<T: RegisteredClass>(object: &mut ZendObject) -> Result<&mut T, Thrown> {
    ZendClassObject::<T>::from_zend_obj_mut(object)
        .map(|object| &mut **object)
        .ok_or_else(|| {
            let class = T::CLASS_NAME;
            Thrown::celery(format!("This object is not a working {class}."))
        })
}

/// Sets a declared property by its number: those of the parent first, each in the order of its
/// declaration. It does not check the type, and it may replace a readonly property, so use it only
/// for objects that PHP code has not seen yet.
pub(crate) fn init(object: &mut ZendObject, number: usize, value: Zval) {
    if let Some(slot) = slot(object, number) {
        let mut value = ManuallyDrop::new(value);
        // SAFETY: the slot is inside the object and holds a value or is undefined. The flags of an
        // uninitialised property are cleared.
        let old = unsafe {
            value.u2 = std::mem::zeroed();
            ptr::replace(slot, ManuallyDrop::into_inner(value))
        };
        if old.is_array() || old.is_object() {
            // The old value may hold the last reference to an object, whose destructor then runs.
            let _ = bailout::catch(|| drop(old));
        }
    }
}

/// Returns a declared property by its number, like [`init`]. An uninitialised one is null.
pub(crate) fn get(object: &ZendObject, number: usize) -> Zval {
    let slot = slot(object, number);
    // SAFETY: the slot is inside the object and holds a value.
    let value = slot.map(|slot| unsafe { (*slot).dereference().shallow_clone() });
    // SAFETY: every value has its type in this union.
    value
        .filter(|value| unsafe { value.u1.type_info } != 0)
        .unwrap_or_else(Zval::null)
}

/// Returns `true` if a declared property was not initialised yet.
pub(crate) fn is_blank(object: &ZendObject, number: usize) -> bool {
    // SAFETY: the slot is inside the object, and every value has its type in this union.
    slot(object, number).is_some_and(|slot| unsafe { (*slot).u1.type_info } == 0)
}

/// Returns the error of a constructor that was called twice, since values never change.
pub(crate) fn is_constructed() -> Thrown {
    Thrown::new(Kind::Error, "This object was constructed already.")
}

fn slot(object: &ZendObject, number: usize) -> Option<*mut Zval> {
    // SAFETY: a live object has a class, and its table of properties has as many slots as the class
    // says.
    unsafe {
        let count = usize::try_from((*object.ce).default_properties_count).unwrap_or(0);
        let object = ptr::from_ref(object).cast_mut();
        let first = (&raw mut (*object).properties_table).cast::<Zval>();
        (number < count).then(|| first.add(number))
    }
}

/// Returns `true` if a value is an object of a class, by its whole name, or of a child of it.
pub(crate) fn is_instance(value: &Zval, class: &str) -> bool {
    value.object().is_some_and(|object| {
        ClassEntry::try_find(class).is_some_and(|class| object.instance_of(class))
    })
}

/// Reports to the cycle collector what an object refers to: its properties, and the PHP value in
/// its state.
unsafe extern "C" fn get_gc<T: State>(
    object: *mut ZendObject,
    table: *mut *mut Zval,
    count: *mut c_int,
) -> *mut ZendHashTable {
    // SAFETY: the engine passes a live object and two places to write to. The reported values stay
    // in place until the collector has looked at them. The buffer is the engine's own and keeps
    // copies without references.
    unsafe {
        let properties = zend_std_get_gc(object, table, count);
        let state =
            ZendClassObject::<T>::from_zend_obj(&*object).and_then(|object| object.obj.as_ref());
        let Some(held) = state.and_then(State::held) else {
            return properties;
        };
        let buffer = zend_get_gc_buffer_create();
        // If `count` is 0, all properties are in the returned table.
        let own = match usize::try_from(*count) {
            Ok(count) if count > 0 => std::slice::from_raw_parts(*table, count),
            _ => &[],
        };
        for value in own.iter().chain([&held.0]) {
            if (*buffer).next == (*buffer).end {
                zend_get_gc_buffer_grow(buffer);
            }
            ptr::copy_nonoverlapping(value, (*buffer).next, 1);
            (*buffer).next = (*buffer).next.add(1);
        }
        *table = (*buffer).start;
        *count = c_int::try_from((*buffer).next.offset_from((*buffer).start)).unwrap_or(0);
        properties
    }
}

unsafe extern "C" fn create<T: State>(class: *mut ClassEntry) -> *mut ZendObject {
    // SAFETY: the engine passes the class being instantiated (perhaps a subclass) and takes over
    // the object.
    unsafe {
        let object = ZendClassObject::<T>::new_uninit(class.as_ref()).into_raw();
        (*object).initialize(T::default());
        &raw mut (*object).std
    }
}

unsafe extern "C" fn clone<T: State>(original: *mut ZendObject) -> *mut ZendObject {
    // SAFETY: the engine passes a live object whose handlers are ours. The copy has the same class,
    // so the property tables have the same shape.
    unsafe {
        let state =
            ZendClassObject::<T>::from_zend_obj(&*original).map(|object| (**object).clone());
        let copy = ZendClassObject::<T>::new_uninit((*original).ce.as_ref()).into_raw();
        (*copy).initialize(state.unwrap_or_default());
        ffi::zend_objects_clone_members(&raw mut (*copy).std, original);
        &raw mut (*copy).std
    }
}

/// A new object of the class that `T` was attached to. Its state is set later, which takes no PHP
/// memory.
pub(crate) struct Blank<T: State>(ZBox<ZendClassObject<T>>);

impl<T: State> Blank<T> {
    /// Creates the object. It may leave by a bailout.
    pub(crate) fn new() -> Self {
        Blank(ZendClassObject::new(T::default()))
    }

    /// Returns the object as a PHP value.
    pub(crate) fn value(&mut self) -> Zval {
        let mut value = Zval::new();
        value.set_object(&mut self.0.std);
        value
    }

    /// Sets the state.
    pub(crate) fn fill(mut self, state: T) {
        **self.0 = state;
    }
}
