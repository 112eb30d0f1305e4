//! A fault in a gRPC status: the table kind -> code, and the fault itself in the status details.

use moulin_core::{Fault, FaultKind};
use prost::Message;
use tonic::{Code, Status};

use crate::{decode, encode, v1};

/// `google.rpc.Status` (google/rpc/status.proto), of which only the details are used.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

const FAULT_TYPE_URL: &str = "type.googleapis.com/moulin.v1.Fault";

/// The gRPC code of a kind.
#[must_use]
pub fn code(kind: FaultKind) -> Code {
    match kind {
        FaultKind::InvalidSpec | FaultKind::BadRow | FaultKind::Transform => Code::InvalidArgument,
        FaultKind::NotFound => Code::NotFound,
        FaultKind::BadFile => Code::DataLoss,
        FaultKind::SchemaMismatch | FaultKind::StaleEpoch => Code::FailedPrecondition,
        FaultKind::PermissionDenied => Code::PermissionDenied,
        FaultKind::Unavailable => Code::Unavailable,
        FaultKind::ResourceExhausted => Code::ResourceExhausted,
        FaultKind::CommitConflict | FaultKind::LeaseLost => Code::Aborted,
        FaultKind::CommitUnknown => Code::Unknown,
        FaultKind::Cancelled => Code::Cancelled,
        FaultKind::DeadlineExceeded => Code::DeadlineExceeded,
        FaultKind::Internal => Code::Internal,
    }
}

/// A status that carries the fault.
#[must_use]
pub fn from_fault(fault: &Fault) -> Status {
    let code = code(fault.kind);
    let fault = &short(fault);
    let any = prost_types::Any { type_url: FAULT_TYPE_URL.to_owned(), value: encode::fault(fault).encode_to_vec() };
    // The message stands in the fault already; twice would be too long for the trailers.
    let details = RpcStatus { code: code as i32, message: String::new(), details: vec![any] };
    Status::with_details(code, fault.message.clone(), details.encode_to_vec().into())
}

/// The fault, short enough for trailers: gRPC clients refuse more than 8 KiB of them unless told otherwise. The job
/// itself keeps all of it; `Get` shows it.
fn short(fault: &Fault) -> Fault {
    let mut left = CAUSES_BYTES;
    let mut causes = Vec::new();
    for cause in &fault.causes {
        let cause = cut(cause, left);
        left = left.saturating_sub(cause.len());
        causes.push(cause);
        if left == 0 {
            break;
        }
    }
    Fault { message: cut(&fault.message, MESSAGE_BYTES), causes, ..fault.clone() }
}

const MESSAGE_BYTES: usize = 1_000;
const CAUSES_BYTES: usize = 1_000;

fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most);
    format!("{} ... ({} bytes more)", &text[..end], text.len() - end)
}

/// The fault of a status; one made from its code and message when it carries none (a proxy, a lost connection).
#[must_use]
pub fn to_fault(status: &Status) -> Fault {
    let carried = RpcStatus::decode(status.details()).ok().and_then(|rpc| {
        let any = rpc.details.into_iter().find(|any| any.type_url == FAULT_TYPE_URL)?;
        v1::Fault::decode(any.value.as_slice()).ok()
    });
    if let Some(fault) = carried {
        return decode::fault(fault);
    }
    let kind = match status.code() {
        Code::NotFound => FaultKind::NotFound,
        Code::InvalidArgument | Code::Unimplemented => FaultKind::InvalidSpec,
        Code::PermissionDenied | Code::Unauthenticated => FaultKind::PermissionDenied,
        Code::ResourceExhausted => FaultKind::ResourceExhausted,
        Code::DeadlineExceeded => FaultKind::DeadlineExceeded,
        Code::Cancelled => FaultKind::Cancelled,
        Code::Unavailable | Code::Unknown => FaultKind::Unavailable,
        _ => FaultKind::Internal,
    };
    Fault::new(kind, status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_comes_back_from_its_status() {
        for kind in FaultKind::ALL {
            let fault = Fault::new(kind, "no file at s3://raw/a.csv").with_hint("look");
            assert_eq!(to_fault(&from_fault(&fault)), fault);
        }
    }

    #[test]
    fn a_long_fault_fits_into_the_trailers_of_any_client() {
        let mut fault = Fault::new(FaultKind::InvalidSpec, "ä".repeat(50_000));
        fault.causes = vec!["because of that".repeat(1_000); 500];
        let status = from_fault(&fault);
        let trailers = status.message().len() * 3 + status.details().len() * 4 / 3;
        assert!(trailers < 8_192, "{trailers}");
        assert!(to_fault(&status).message.ends_with("bytes more)"));
    }

    #[test]
    fn a_retryable_kind_never_has_the_code_of_a_wrong_request() {
        for kind in FaultKind::ALL.into_iter().filter(|kind| kind.retryable()) {
            assert!(
                !matches!(code(kind), Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition),
                "{kind:?}"
            );
        }
    }
}
