//! The actor of the directory: organisations, people, certificates and roots of trust. There is one, it never
//! sleeps, and everybody reads its committed state without asking it.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, fut::wrap_future};
use kaibiao_engine::{
    directory::{Directory, DirectoryMachine},
    keeper::{Keeper, Recorded},
};
use kaibiao_protocol::directory::{DirectoryCommand, DirectoryEvent};

use crate::{
    journal::{Journal, Stream},
    keeper_actor::{Keeps, Shell, ask, replayed},
    messages::{KeeperAsk, Undelivered},
    metrics::Metrics,
};

/// What outlives the directory's actor: its committed state and its address.
pub(crate) struct DirectoryDesk {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) metrics: Arc<Metrics>,
    committed: RwLock<Arc<Directory>>,
    address: Mutex<Option<Addr<DirectoryActor>>>,
}

impl DirectoryDesk {
    pub(crate) fn new(journal: Arc<dyn Journal>, metrics: Arc<Metrics>, state: Arc<Directory>) -> Arc<Self> {
        Arc::new(Self { journal, metrics, committed: RwLock::new(state), address: Mutex::default() })
    }

    /// The directory as committed.
    pub(crate) fn committed(&self) -> Arc<Directory> {
        self.committed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives an ask to the living actor; `start` starts a new one where there is none.
    pub(crate) fn send(
        self: &Arc<Self>,
        start: impl FnOnce(DirectoryActor) -> Addr<DirectoryActor>,
        message: KeeperAsk<DirectoryCommand>,
    ) -> Result<(), Undelivered> {
        let mut address = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        if !address.as_ref().is_some_and(Addr::connected) {
            if address.is_some() {
                self.metrics.note_restart("directory");
                tracing::warn!("the directory's actor died and is started anew by replay");
            }
            *address = Some(start(DirectoryActor { desk: self.clone(), shell: None }));
        }
        // Through this very address: actix grants each clone a place beyond the mailbox's bound.
        Ok(address.as_ref().expect("it was started just now").try_send(message)?)
    }

    fn commit(&self, state: Arc<Directory>) {
        *self.committed.write().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// The directory's actor.
pub(crate) struct DirectoryActor {
    desk: Arc<DirectoryDesk>,
    shell: Option<Shell<DirectoryMachine>>,
}

impl DirectoryActor {
    fn take(&mut self, keeper: Keeper<DirectoryMachine>) {
        self.desk.commit(keeper.snapshot());
        let (journal, metrics) = (self.desk.journal.clone(), self.desk.metrics.clone());
        self.shell = Some(Shell::new(keeper, Stream::Directory, journal, metrics));
    }
}

impl Actor for DirectoryActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let journal = self.desk.journal.clone();
        let reading = async move {
            let read = tokio::task::spawn_blocking(move || {
                replayed::<DirectoryMachine>(&*journal, &Stream::Directory)
            });
            read.await.ok()
        };
        ctx.wait(wrap_future::<_, Self>(reading).map(|read, actor, ctx| match read {
            Some(Ok(keeper)) => actor.take(keeper),
            Some(Err(fault)) => {
                tracing::error!(%fault, "the directory cannot be replayed");
                ctx.stop();
            }
            None => ctx.stop(),
        }));
    }
}

impl Keeps<DirectoryMachine> for DirectoryActor {
    fn shell(&mut self) -> Option<&mut Shell<DirectoryMachine>> {
        self.shell.as_mut()
    }

    fn published(&mut self, _: u64, _: Vec<Recorded<DirectoryEvent>>, _: &mut Context<Self>) {
        if let Some(shell) = &self.shell {
            self.desk.commit(shell.keeper().snapshot());
        }
    }

    fn append_failed(&mut self, ctx: &mut Context<Self>) {
        tracing::error!("an append failed; the directory starts anew by replay");
        ctx.stop();
    }
}

impl Handler<KeeperAsk<DirectoryCommand>> for DirectoryActor {
    type Result = ();

    fn handle(&mut self, message: KeeperAsk<DirectoryCommand>, ctx: &mut Context<Self>) {
        ask(self, message, ctx);
    }
}
