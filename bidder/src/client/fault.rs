//! What can go wrong between client and server.

use std::sync::Arc;

use kaibiao_protocol::refusal::{Refusal, RefusalCode};

use crate::{
    report::{Explain, Problem, say},
    signer::UseFault,
};

/// Why a call to the server brought nothing. Clones, so that one lost connection can tell everybody who waits.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientFault {
    /// The server refused; a normal answer, with its rule and next step.
    #[error("{}", .0.say.en)]
    Refused(Refusal),
    /// The server could not be reached in the time allowed.
    #[error("{server} cannot be reached: {why}")]
    Unreachable {
        /// Which server.
        server: String,
        /// What the network said last.
        why: String,
    },
    /// The server's TLS certificate is not one to trust.
    #[error("{server} does not prove who it is: {why}")]
    NotTrusted {
        /// Which server.
        server: String,
        /// What is wrong with its certificate.
        why: String,
    },
    /// The connection was cut after a command was sent and before its answer came.
    #[error("the connection was cut before the answer to {asked} came; whether it was done is not known")]
    AnswerLost {
        /// The command, as on the wire.
        asked: &'static str,
    },
    /// Something answers there that is not a kaibiao server of this version.
    #[error("{server} answered something this client does not understand: {why}")]
    NotUnderstood {
        /// Which server.
        server: String,
        /// What came.
        why: String,
    },
    /// A challenge that was not made for this server and account; it was not signed.
    #[error("the sign-in challenge is not for here ({why}); it was not signed")]
    StrangeChallenge {
        /// What does not fit.
        why: String,
    },
    /// The token would not sign, or its PIN could not be had.
    #[error("{0}")]
    Token(Arc<UseFault>),
    /// The token signed, and no signature could be formed of it.
    #[error("no signature was made: {why}")]
    NotSigned {
        /// What is wrong with certificate or signature.
        why: String,
    },
    /// What is to be sent is longer than one message may be.
    #[error("{bytes} bytes are more than one message may have")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A file on this machine cannot be read or written.
    #[error("{path}: {why}")]
    File {
        /// Which file.
        path: String,
        /// What the system said.
        why: String,
    },
    /// Another reader took over the subscription of this stream.
    #[error("another reader of this session took over the stream {0}")]
    TakenOver(String),
    /// A file of trusted certificates holds none.
    #[error("{path} holds no certificate: {why}")]
    NoCertificates {
        /// Which file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ClientFault {
    /// The refusal, if the server refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            ClientFault::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the server said no, as against: could not be asked.
    pub fn is_refused_as(&self, code: RefusalCode) -> bool {
        self.refusal().is_some_and(|refusal| refusal.code == code)
    }
}

impl Explain for ClientFault {
    fn problem(&self) -> Problem {
        match self {
            ClientFault::Refused(refusal) => Problem::of_refusal(refusal),
            ClientFault::Token(fault) => fault.problem(),
            ClientFault::Unreachable { server, why } => Problem::new(
                "server_unreachable",
                say(format!("无法连接服务器 {server}：{why}"), self.to_string()),
                say(
                    "请检查网络与服务器地址后重试；已上传的部分不会丢失",
                    "check the network and the address and try again; what was uploaded is not lost",
                ),
            ),
            ClientFault::NotTrusted { server, why } => Problem::new(
                "server_not_trusted",
                say(format!("服务器 {server} 的证书不可信：{why}"), self.to_string()),
                say(
                    "请勿继续：核实服务器地址；如平台使用自有根证书，请用 --ca 指定",
                    "do not go on: check the address; if the platform has a root of its own, name it with --ca",
                ),
            ),
            ClientFault::AnswerLost { asked } => Problem::new(
                "answer_lost",
                say(format!("连接在收到 {asked} 的答复前中断，不能确定是否已办理"), self.to_string()),
                say("请先查看开标室的现状，再决定是否重做", "look at the room before you repeat it"),
            ),
            ClientFault::NotUnderstood { server, why } => Problem::new(
                "server_not_understood",
                say(format!("{server} 的答复无法识别：{why}"), self.to_string()),
                say(
                    "请核对服务器地址，并使用平台提供的最新客户端",
                    "check the address, and use the client that the platform offers",
                ),
            ),
            ClientFault::StrangeChallenge { why } => Problem::new(
                "challenge_strange",
                say(format!("登录质询不是发给本处的（{why}），未签名"), self.to_string()),
                say(
                    "请核对服务器地址；若反复出现，请联系平台",
                    "check the address; if it stays, tell the platform",
                ),
            ),
            ClientFault::NotSigned { why } => Problem::new(
                "not_signed",
                say(format!("未能形成签名：{why}"), self.to_string()),
                say("请检查 CA 证书", "check the token's certificate"),
            ),
            ClientFault::TooLong { bytes } => Problem::new(
                "message_too_long",
                say(format!("内容过长（{bytes} 字节）"), self.to_string()),
                say("请缩短后重试", "make it shorter and try again"),
            ),
            ClientFault::File { path, why } => Problem::new(
                "file_unusable",
                say(format!("文件 {path} 无法使用：{why}"), self.to_string()),
                say("请检查路径、权限和磁盘空间", "check the path, its rights and the disk's room"),
            ),
            ClientFault::TakenOver(stream) => Problem::new(
                "stream_taken_over",
                say(format!("本会话的另一处已接管事件流 {stream}"), self.to_string()),
                say("请重新打开", "open it again"),
            ),
            ClientFault::NoCertificates { path, why } => Problem::new(
                "ca_file_unusable",
                say(format!("{path} 中没有可用的证书：{why}"), self.to_string()),
                say("请提供 PEM 格式的根证书", "give the root certificate in PEM"),
            ),
        }
    }
}
