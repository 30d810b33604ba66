//! Objects with Rust state, made so that userland subclasses, `clone` and `unserialize` work.
//!
//! Two corrections to ext-php-rs 0.16.4: an object is created for the class that was asked for (a subclass keeps its
//! properties) and its state is always initialised; a clone has the class and the properties of its original.

use ext_php_rs::class::RegisteredClass;
use ext_php_rs::ffi;
use ext_php_rs::flags::ClassFlags;
use ext_php_rs::types::{ZendClassObject, ZendHashTable, ZendObject, Zval};
use ext_php_rs::zend::{ClassEntry, ZendObjectHandlers};

use super::value::{self, Key};

unsafe extern "C" {
    fn zend_std_build_object_properties_array(object: *mut ZendObject) -> *mut ffi::HashTable;
    fn object_properties_load(object: *mut ZendObject, properties: *mut ffi::HashTable);
}

/// State that a PHP object carries.
pub(crate) trait State: RegisteredClass + Clone + Default {}

/// Implements what ext-php-rs wants to know of a state type whose class we declare ourselves.
macro_rules! state {
    ($type:ty, $class:literal) => {
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
        impl $crate::ffi::object::State for $type {}
    };
}
pub(crate) use state;

/// Whether objects of a class may be serialized.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serializable {
    Yes,
    /// They hold credentials.
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
    // SAFETY: the handlers were allocated for this class alone, and during MINIT no object uses them yet.
    unsafe { (*handlers).clone_obj = Some(clone::<T>) };
}

unsafe extern "C" fn create<T: State>(class: *mut ClassEntry) -> *mut ZendObject {
    // SAFETY: the engine passes the class being instantiated (perhaps a subclass) and takes over the object.
    unsafe {
        let object = ZendClassObject::<T>::new_uninit(class.as_ref()).into_raw();
        (*object).initialize(T::default());
        &raw mut (*object).std
    }
}

unsafe extern "C" fn clone<T: State>(original: *mut ZendObject) -> *mut ZendObject {
    // SAFETY: the engine passes a live object whose handlers are ours; the copy is made for its very class, so the
    // property tables have the same shape.
    unsafe {
        let state =
            ZendClassObject::<T>::from_zend_obj(&*original).map(|object| (**object).clone());
        let copy = ZendClassObject::<T>::new_uninit((*original).ce.as_ref()).into_raw();
        (*copy).initialize(state.unwrap_or_default());
        ffi::zend_objects_clone_members(&raw mut (*copy).std, original);
        &raw mut (*copy).std
    }
}

/// A new object of the class that `T` was attached to.
pub(crate) fn new<T: State>(state: T) -> Zval {
    let mut object = ZendClassObject::new(state);
    let mut value = Zval::new();
    value.set_object(&mut object.std);
    value
}

/// The PHP properties of an object (those of a userland subclass, and dynamic ones) as an array.
pub(crate) fn properties(object: &mut ZendObject) -> Zval {
    let mut value = Zval::new();
    // SAFETY: the object is live; the engine returns a new array that we own.
    let table = unsafe { zend_std_build_object_properties_array(object) };
    // SAFETY: see above; the box takes over our reference.
    value
        .set_hashtable(unsafe { ext_php_rs::boxed::ZBox::from_raw(table.cast::<ZendHashTable>()) });
    value
}

/// Whether each private property among `properties` belongs to the object's class or to a parent of it. For any other
/// class the engine would call the autoloader, with a name that the array's author chose.
pub(crate) fn owns_privates(object: &ZendObject, properties: &Zval) -> bool {
    let class = object.get_class_entry();
    let is_own = |name: &[u8]| {
        std::iter::successors(Some(class), |class| class.parent())
            .filter_map(ClassEntry::name)
            .any(|own| own.as_bytes().eq_ignore_ascii_case(name))
    };
    let foreign = value::find_in_array(properties, |key, _| {
        // A private one is written as NUL, class, NUL, name; a protected one has a star for the class.
        let Key::Name([0, rest @ ..]) = key else {
            return None;
        };
        let class = rest.split(|&byte| byte == 0).next().unwrap_or_default();
        (class != b"*" && !is_own(class)).then_some(())
    });
    foreign.is_none()
}

/// Sets the PHP properties of an object from what [`properties`] returned.
pub(crate) fn load_properties(object: &mut ZendObject, properties: &ZendHashTable) {
    // SAFETY: both are live; the engine copies the values and ignores what the class does not allow.
    unsafe { object_properties_load(object, std::ptr::from_ref(properties).cast_mut()) };
}
