//! Generates the code for a task function.
//!
//! A parameter is of one of three kinds, recognised by the last part of its type's path. It is a
//! part of the worker (`Context`, `State<T>`), the rest of the call (`Args`, `Kwargs`), or an
//! argument of the message.

use std::time::Duration;

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Error, Expr, FnArg, GenericArgument, ItemFn, Pat, PatIdent, PathArguments, Result, ReturnType,
    Type,
};

use crate::options::{Argument, Batch, MaxRetries, Options};

pub(crate) fn expand(options: Options, mut function: ItemFn) -> Result<TokenStream> {
    let signature = &function.sig;
    if let Some(generics) = signature.generics.lt_token {
        return Err(Error::new(generics.span(), "a task cannot be generic"));
    }
    let parameters = Parameters::take(&mut function)?;
    let definition = match &options.batch {
        Some(batch) => batched(&options, batch, &function, &parameters)?,
        None => single(&options, &function, &parameters)?,
    };
    let policy = policy(&options);
    let limits = limits(&options, &parameters)?;
    let needs = parameters.needs();

    let (visibility, ident) = (&function.vis, &function.sig.ident);
    let conditions: Vec<_> = function
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .collect();
    let documentation = format!("The task of the function [`{ident}`](fn@{ident}).");
    // An enum has a name in Rust's namespace of types only, so the function can have the same name
    // in the namespace of values.
    Ok(quote! {
        // A task may be async although it awaits nothing, and takes arguments by value that it only
        // reads.
        #[allow(clippy::unused_async, clippy::needless_pass_by_value)]
        #function

        #(#conditions)*
        #[doc = #documentation]
        #[allow(non_camel_case_types)]
        #visibility enum #ident {}

        #(#conditions)*
        impl #ident {
            /// Returns the task's definition, for a worker to register.
            #[must_use]
            #visibility fn task() -> ::celery_worker::TaskDef {
                #definition #policy #limits #(#needs)*
            }
        }
    })
}

/// Generates a task that gets one call at a time.
fn single(options: &Options, function: &ItemFn, parameters: &Parameters) -> Result<TokenStream> {
    let ident = &function.sig.ident;
    let python_name = ident.unraw().to_string();
    let name = options.name.clone().unwrap_or_else(|| python_name.clone());
    let (mut list, mut bindings, mut passed) = (Vec::new(), Vec::new(), Vec::new());
    let (mut rest, mut keywords) = (false, false);
    let mut index = 0usize;
    let mut has_default = false;
    for (number, parameter) in parameters.0.iter().enumerate() {
        let variable = format_ident!("value_{number}");
        let ty = &parameter.ty;
        // The compiler shows an error about the parameter's type at that type.
        let place = ty.span().resolved_at(Span::call_site());
        bindings.push(match parameter.kind {
            Kind::Worker => quote_spanned!(place=> let #variable: #ty = call.extract()?;),
            Kind::Args => {
                rest = true;
                quote_spanned!(place=> let #variable: #ty = bound.args()?;)
            }
            Kind::Kwargs => {
                keywords = true;
                quote_spanned!(place=> let #variable: #ty = bound.kwargs()?;)
            }
            Kind::Argument => {
                let argument = parameter.name.as_deref().ok_or_else(|| {
                    Error::new(
                        ty.span(),
                        "an argument needs a plain name, which callers can use",
                    )
                })?;
                let required = parameter.default.is_none() && !is_named(ty, "Option");
                if required && has_default {
                    return Err(Error::new(
                        ty.span(),
                        "a required argument cannot follow one with a default",
                    ));
                }
                has_default |= parameter.default.is_some();
                list.push(quote!(::celery_worker::__private::Param { name: #argument, required: #required }));
                let at = index;
                index += 1;
                match &parameter.default {
                    Some(default) => quote_spanned! {place=>
                        let #variable: #ty = match bound.optional(#at)? {
                            ::core::option::Option::Some(value) => value,
                            ::core::option::Option::None => #default,
                        };
                    },
                    None if required => {
                        quote_spanned!(place=> let #variable: #ty = bound.required(#at)?;)
                    }
                    None => {
                        quote_spanned!(place=> let #variable: #ty = bound.optional(#at)?.flatten();)
                    }
                }
            }
            Kind::Batch => {
                return Err(Error::new(ty.span(), "Batch needs #[task(batch(…))]"));
            }
        });
        passed.push(variable);
    }
    let answer = if returns_result(&function.sig.output) {
        quote!(::celery_worker::TaskDef::answer)
    } else {
        quote!(::celery_worker::TaskDef::answer_value)
    };
    let prepare = quote! {
        const SIGNATURE: ::celery_worker::__private::Signature = ::celery_worker::__private::Signature {
            function: #python_name,
            params: &[#(#list),*],
            rest: #rest,
            keywords: #keywords,
        };
        #[allow(unused_mut)]
        let mut bound = call.bind(&SIGNATURE)?;
        #(#bindings)*
        ::core::mem::drop(bound);
    };
    Ok(if function.sig.asyncness.is_some() {
        quote! {
            ::celery_worker::TaskDef::function(#name, |call| async move {
                #prepare
                #answer(#ident(#(#passed),*).await)
            })
        }
    } else {
        quote! {
            ::celery_worker::TaskDef::blocking(#name, |call| {
                #prepare
                #answer(#ident(#(#passed),*))
            })
        }
    })
}

/// Generates a task that gets many calls at once.
fn batched(
    options: &Options,
    batch: &Batch,
    function: &ItemFn,
    parameters: &Parameters,
) -> Result<TokenStream> {
    let ident = &function.sig.ident;
    if function.sig.asyncness.is_none() {
        return Err(Error::new(ident.span(), "a task in batches must be async"));
    }
    let python_name = ident.unraw().to_string();
    let name = options.name.clone().unwrap_or_else(|| python_name.clone());
    let mut passed = Vec::new();
    let mut batches = 0;
    for parameter in &parameters.0 {
        passed.push(match parameter.kind {
            Kind::Batch => {
                batches += 1;
                quote!(calls)
            }
            Kind::Worker if is_named(&parameter.ty, "State") => quote!(calls.extract()?),
            _ => {
                let message = "a task in batches takes one Batch<…> and any State<…>";
                return Err(Error::new(parameter.ty.span(), message));
            }
        });
    }
    if batches != 1 {
        return Err(Error::new(
            ident.span(),
            "a task in batches takes one Batch<…>",
        ));
    }
    // The call takes ownership of the batch, so the parts of the batch are taken out before.
    let (mut before, mut arguments) = (Vec::new(), Vec::new());
    for (number, (value, parameter)) in passed.into_iter().zip(&parameters.0).enumerate() {
        if parameter.kind == Kind::Batch {
            arguments.push(value);
        } else {
            let (variable, ty) = (format_ident!("value_{number}"), &parameter.ty);
            before.push(quote!(let #variable: #ty = #value;));
            arguments.push(quote!(#variable));
        }
    }
    let size = batch.size.unwrap_or(500);
    let linger = nanos(batch.linger.unwrap_or(Duration::from_millis(5)));
    Ok(quote! {
        ::celery_worker::TaskDef::batched(
            #name,
            #python_name,
            ::celery_worker::BatchOptions {
                size: #size,
                linger: ::core::time::Duration::from_nanos(#linger),
            },
            |calls| async move {
                #(#before)*
                #ident(#(#arguments),*).await.map_err(::core::convert::Into::into)
            },
        )
    })
}

fn policy(options: &Options) -> TokenStream {
    let mut policy = TokenStream::new();
    match options.max_retries {
        Some(MaxRetries::Limited(retries)) => policy.extend(quote!(.max_retries(#retries))),
        Some(MaxRetries::Unlimited) => policy.extend(quote!(.unlimited_retries())),
        None => {}
    }
    if let Some(factor) = options.retry_backoff {
        policy.extend(quote!(.retry_backoff(#factor)));
    }
    for (method, types) in &options.types {
        let method = format_ident!("{method}");
        policy.extend(quote!(.#method([#(#types),*])));
    }
    for (method, value) in &options.flags {
        let method = format_ident!("{method}");
        policy.extend(quote!(.#method(#value)));
    }
    let times = [
        ("retry_delay", options.retry_delay),
        ("retry_backoff_max", options.retry_backoff_max),
        (
            "soft_time_limit",
            options.soft_time_limit.map(|(limit, _)| limit),
        ),
        ("time_limit", options.time_limit.map(|(limit, _)| limit)),
    ];
    for (method, time) in times {
        if let Some(time) = time {
            let (method, time) = (format_ident!("{method}"), nanos(time));
            policy.extend(quote!(.#method(::core::time::Duration::from_nanos(#time))));
        }
    }
    policy
}

/// Generates the limits that hold across all workers.
fn limits(options: &Options, parameters: &Parameters) -> Result<TokenStream> {
    let mut limits = TokenStream::new();
    if let Some(calls) = options.max_concurrency {
        limits.extend(quote!(.max_concurrency(#calls)));
    }
    if let Some(rate) = &options.fleet_rate_limit {
        limits.extend(quote!(.fleet_rate_limit(#rate)));
    }
    if let Some(by) = &options.limit_by {
        if limits.is_empty() {
            let message = "limit_by needs max_concurrency or fleet_rate_limit";
            return Err(Error::new(Span::call_site(), message));
        }
        limits.extend(by_argument("limit_by", by, parameters)?);
    }
    if let Some(until) = &options.unique {
        limits.extend(quote!(.unique(#until)));
    } else if !options.unique_by.is_empty() {
        return Err(Error::new(Span::call_site(), "unique_by needs unique"));
    }
    for by in &options.unique_by {
        limits.extend(by_argument("unique_by", by, parameters)?);
    }
    Ok(limits)
}

/// Generates the call of the method that takes an argument's position, or of the one that takes a
/// parameter.
fn by_argument(method: &str, argument: &Argument, parameters: &Parameters) -> Result<TokenStream> {
    let placed = format_ident!("{method}");
    let name = match argument {
        Argument::Position(position) => {
            let position = position.to_string();
            return Ok(quote!(.#placed(#position)));
        }
        Argument::Name(name) => name,
    };
    let text = name.value();
    // What follows a dot is inside the argument.
    let parameter = text.split('.').next().unwrap_or_default();
    if let Some(position) = parameters.position(parameter) {
        let of_parameter = format_ident!("{method}_parameter");
        return Ok(quote!(.#of_parameter(#name, #position)));
    }
    let is_position = parameter.parse::<usize>().is_ok();
    if is_position || parameters.takes_any_name() {
        return Ok(quote!(.#placed(#name)));
    }
    let message = "the function has no parameter of this name";
    Err(Error::new(name.span(), message))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The parameters of the function, without our own attribute.
struct Parameters(Vec<Parameter>);

struct Parameter {
    /// `None` for a pattern.
    name: Option<String>,
    ty: Type,
    kind: Kind,
    default: Option<Expr>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Worker,
    Args,
    Kwargs,
    Batch,
    Argument,
}

impl Parameters {
    fn take(function: &mut ItemFn) -> Result<Self> {
        let mut parameters = Vec::new();
        for input in &mut function.sig.inputs {
            let FnArg::Typed(input) = input else {
                return Err(Error::new(
                    input.span(),
                    "a task is a plain function, not a method",
                ));
            };
            let mut default = None;
            let mut failure = None;
            input.attrs.retain(|attribute| {
                let ours = attribute.path().is_ident("default");
                if ours {
                    match attribute.parse_args::<Expr>() {
                        Ok(expression) => default = Some(expression),
                        Err(error) => failure = Some(error),
                    }
                }
                !ours
            });
            if let Some(error) = failure {
                return Err(error);
            }
            let name = match &*input.pat {
                Pat::Ident(PatIdent {
                    ident,
                    subpat: None,
                    ..
                }) => Some(ident.unraw().to_string()),
                _ => None,
            };
            let kind = match () {
                () if is_named(&input.ty, "Context") || is_named(&input.ty, "State") => {
                    Kind::Worker
                }
                () if is_named(&input.ty, "Args") => Kind::Args,
                () if is_named(&input.ty, "Kwargs") => Kind::Kwargs,
                () if is_named(&input.ty, "Batch") => Kind::Batch,
                () => Kind::Argument,
            };
            if default.is_some() && kind != Kind::Argument {
                return Err(Error::new(
                    input.ty.span(),
                    "only an argument has a default",
                ));
            }
            parameters.push(Parameter {
                name,
                ty: (*input.ty).clone(),
                kind,
                default,
            });
        }
        Ok(Parameters(parameters))
    }

    /// Returns the position of an argument among the arguments of a message.
    fn position(&self, name: &str) -> Option<usize> {
        let mut arguments = self.0.iter().filter(|it| it.kind == Kind::Argument);
        arguments.position(|it| it.name.as_deref() == Some(name))
    }

    /// Returns `true` if callers may pass arguments whose names the function does not have.
    fn takes_any_name(&self) -> bool {
        let any = [Kind::Kwargs, Kind::Batch];
        self.0.iter().any(|it| any.contains(&it.kind))
    }

    /// Returns `.needs::<T>()` for each `State<T>`, so that a missing state is found at the start.
    fn needs(&self) -> Vec<TokenStream> {
        let states = self
            .0
            .iter()
            .filter(|parameter| is_named(&parameter.ty, "State"));
        states
            .filter_map(|parameter| {
                let Type::Path(path) = &parameter.ty else {
                    return None;
                };
                let PathArguments::AngleBracketed(arguments) =
                    &path.path.segments.last()?.arguments
                else {
                    return None;
                };
                arguments.args.iter().find_map(|argument| match argument {
                    GenericArgument::Type(state) => Some(quote!(.needs::<#state>())),
                    _ => None,
                })
            })
            .collect()
    }
}

/// Returns `true` if the last part of the type's path is `name`.
fn is_named(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == name),
        _ => false,
    }
}

/// Returns `true` for `Result<…>`, `io::Result<…>`, `TaskResult<…>` and other types whose names end
/// in `Result`.
fn returns_result(output: &ReturnType) -> bool {
    match output {
        ReturnType::Type(_, ty) => match &**ty {
            Type::Path(path) => path
                .path
                .segments
                .last()
                .is_some_and(|last| last.ident.to_string().ends_with("Result")),
            _ => false,
        },
        ReturnType::Default => false,
    }
}
