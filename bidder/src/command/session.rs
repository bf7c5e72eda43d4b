//! Which server, and who acts there.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, ValueEnum};
use kaibiao_protocol::{ids::UserId, role::Role};
use kaibiao_sealed::digest::sha256;
use zeroize::Zeroizing;

use super::token::{ChoiceFault, ChosenToken};
use crate::{
    client::{
        AddressFault, Client, ClientFault, ClientOptions, Credentials, ServerAddress, Session, StoredSession,
    },
    clock::now,
    private_file::write_private,
    report::{Explain, Problem, say},
    token::{PinFault, PinSource},
};

/// Options that name a server.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// The server's address.
    #[arg(
        long,
        value_name = "URL",
        env = "KAIBIAO_SERVER",
        help = "服务器地址 / the server, such as https://bid.example.cn",
        help_heading = "服务器 / Server"
    )]
    pub server: String,
    /// 只信任此文件中的根证书（PEM） / trust the root certificates in FILE and no others
    #[arg(long, value_name = "FILE", help_heading = "服务器 / Server")]
    pub ca: Option<PathBuf>,
    /// 允许对其他机器使用不加密的 http / allow plain http to other machines than this one
    #[arg(long, help_heading = "服务器 / Server")]
    pub allow_plain: bool,
    /// 会话等状态的目录 / where sessions are kept
    #[arg(long, value_name = "DIR", env = "KAIBIAO_STATE", help_heading = "服务器 / Server")]
    pub state: Option<PathBuf>,
}

/// Options that name an account.
#[derive(Args, Clone, Debug, Default)]
pub struct AccountArgs {
    /// 账号 / the account; its password is asked for
    #[arg(long, value_name = "ACCOUNT", help_heading = "账号 / Account")]
    pub account: Option<UserId>,
    /// 从文件首行读取密码 / read the password from the first line of FILE
    #[arg(
        long,
        value_name = "FILE",
        requires = "account",
        conflicts_with = "password_stdin",
        help_heading = "账号 / Account"
    )]
    pub password_file: Option<PathBuf>,
    /// 从标准输入读取密码 / read the password from standard input
    #[arg(long, requires = "account", help_heading = "账号 / Account")]
    pub password_stdin: bool,
    /// 账号有多个角色时指定 / the role to act in, where the account has several
    #[arg(long, value_name = "ROLE", help_heading = "账号 / Account")]
    pub role: Option<RoleName>,
}

/// A role as it is named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    /// 供应商
    Supplier,
    /// 经办人
    Agent,
    /// 采购人
    Purchaser,
    /// 监督
    Supervisor,
    /// 评标专家
    Expert,
    /// 平台管理员
    Administrator,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Supplier => Role::Supplier,
            RoleName::Agent => Role::Agent,
            RoleName::Purchaser => Role::Purchaser,
            RoleName::Supervisor => Role::Supervisor,
            RoleName::Expert => Role::Expert,
            RoleName::Administrator => Role::Administrator,
        }
    }
}

/// Why there is no session.
#[derive(Debug)]
pub enum SessionFault {
    /// The server's address is none.
    Address(AddressFault),
    /// The server refused or could not be reached.
    Client(ClientFault),
    /// No password could be had.
    Password(PinFault),
    /// The token does not serve.
    Token(ChoiceFault),
    /// Nobody is signed in and nobody was named.
    NotSignedIn,
    /// The session cannot be kept.
    State(String),
}

impl From<ClientFault> for SessionFault {
    fn from(fault: ClientFault) -> Self {
        SessionFault::Client(fault)
    }
}

impl Explain for SessionFault {
    fn problem(&self) -> Problem {
        match self {
            SessionFault::Address(fault) => {
                let next = match fault {
                    AddressFault::Plain(_) => say(
                        "请使用 https；确知线路安全时可加 --allow-plain",
                        "use https; where you know the line to be safe, add --allow-plain",
                    ),
                    AddressFault::NotAnAddress(_) | AddressFault::OtherScheme(_) => {
                        say("例如 https://bid.example.cn", "for example https://bid.example.cn")
                    }
                };
                Problem::new(
                    "server_address",
                    say(format!("服务器地址有误：{fault}"), fault.to_string()),
                    next,
                )
            }
            SessionFault::Client(fault) => fault.problem(),
            SessionFault::Password(fault) => Problem::new(
                "password_missing",
                say(format!("没有得到密码：{fault}"), format!("no password was given: {fault}")),
                say("请在终端输入，或用 --password-file", "type it at the terminal, or give --password-file"),
            ),
            SessionFault::Token(fault) => fault.problem(),
            SessionFault::NotSignedIn => Problem::new(
                "not_signed_in",
                say("尚未登录", "nobody is signed in"),
                say(
                    "请先运行 kaibiao-bid sign-in，或加 --token、--pkcs12 或 --account",
                    "run `kaibiao-bid sign-in` first, or add --token, --pkcs12 or --account",
                ),
            ),
            SessionFault::State(why) => Problem::new(
                "state_unusable",
                say(format!("会话无法保存：{why}"), format!("the session cannot be kept: {why}")),
                say("请用 --state 指定可写的目录", "name a folder of your own with --state"),
            ),
        }
    }
}

impl ServerArgs {
    /// A client of the server; nothing is sent yet.
    ///
    /// # Errors
    /// The address or the file of roots is unusable.
    pub fn client(&self) -> Result<Client, SessionFault> {
        let address = ServerAddress::parse(&self.server, self.allow_plain).map_err(SessionFault::Address)?;
        let options = ClientOptions { ca: self.ca.clone(), ..ClientOptions::default() };
        Ok(Client::new(address, options)?)
    }

    /// Somebody's session: by the account named, else the one kept from `sign-in`, else by the token named.
    /// A kept session signs in anew with the token when it is over.
    ///
    /// # Errors
    /// [`SessionFault`].
    pub async fn session(
        &self,
        account: &AccountArgs,
        token: Option<&ChosenToken>,
    ) -> Result<Session, SessionFault> {
        let client = self.client()?;
        if let Some(credentials) = account.credentials()? {
            return Ok(client.sign_in(credentials).await?);
        }
        let credentials = match token {
            Some(token) => Some(token_credentials(token, account).map_err(SessionFault::Token)?),
            None => None,
        };
        if let Some(stored) = self.stored(client.address()) {
            return Ok(client.resume(&stored, credentials));
        }
        Ok(client.sign_in(credentials.ok_or(SessionFault::NotSignedIn)?).await?)
    }

    /// The session kept for this server, unless its end has come.
    fn stored(&self, address: &ServerAddress) -> Option<StoredSession> {
        let text = Zeroizing::new(fs::read(self.session_file(address)?).ok()?);
        let stored: StoredSession = serde_json::from_slice(&text).ok()?;
        (stored.server == address.to_string() && now() < stored.expires_at).then_some(stored)
    }

    /// Keeps a session for later commands, readable by its owner alone; gives the file.
    ///
    /// # Errors
    /// There is no folder for it, or it cannot be written.
    pub fn keep(&self, session: &Session) -> Result<PathBuf, SessionFault> {
        let no_folder = || SessionFault::State("neither HOME nor --state".to_owned());
        let path = self.session_file(session.client().address()).ok_or_else(no_folder)?;
        let failed = |fault: std::io::Error| SessionFault::State(format!("{}: {fault}", path.display()));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let text = Zeroizing::new(serde_json::to_vec(&session.stored()).expect("a session is JSON"));
        write_private(&path, &text).map_err(failed)?;
        Ok(path)
    }

    /// Forgets the session kept for this server.
    pub fn forget(&self, address: &ServerAddress) {
        if let Some(path) = self.session_file(address) {
            // If it is not there, there is nothing to forget.
            let _ = fs::remove_file(path);
        }
    }

    fn session_file(&self, address: &ServerAddress) -> Option<PathBuf> {
        let folder = match &self.state {
            Some(folder) => folder.clone(),
            None => default_state()?,
        };
        let digest = sha256(address.to_string().as_bytes()).to_string();
        Some(folder.join(format!("session-{}.json", &digest[..16])))
    }
}

/// Where state lies by the XDG convention.
fn default_state() -> Option<PathBuf> {
    let from = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base =
        from("XDG_STATE_HOME").or_else(|| from("HOME").map(|home| home.join(Path::new(".local/state"))))?;
    Some(base.join("kaibiao"))
}

impl AccountArgs {
    /// The account's credentials, if one was named.
    ///
    /// # Errors
    /// No password could be had.
    pub fn credentials(&self) -> Result<Option<Credentials>, SessionFault> {
        let Some(account) = &self.account else { return Ok(None) };
        let source = match &self.password_file {
            Some(path) => PinSource::File(path.clone()),
            None if self.password_stdin => PinSource::Descriptor(0),
            None => PinSource::Prompt,
        };
        let asked = format!("请输入账号 {account} 的密码 / password of {account}");
        let typed = source.read(&asked).map_err(SessionFault::Password)?;
        let password = String::from_utf8(typed.expose().to_vec())
            .map(Zeroizing::new)
            .map_err(|_| SessionFault::Password(PinFault::Empty("text that is not UTF-8".to_owned())))?;
        Ok(Some(Credentials::Password {
            account: account.clone(),
            password: Arc::new(password),
            role: self.role.map(Role::from),
        }))
    }
}

/// The credentials of a token: its signing certificate.
///
/// # Errors
/// The token has no certificate that signs, or several.
pub fn token_credentials(token: &ChosenToken, options: &AccountArgs) -> Result<Credentials, ChoiceFault> {
    let signer = Arc::new(token.token.signer(token.signing()?));
    Ok(Credentials::Token { account: None, signer, role: options.role.map(Role::from) })
}
