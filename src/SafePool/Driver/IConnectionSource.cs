using System.Data;
using System.Transactions;
using Npgsql;
using SafePool.Driver.Control;
using SafePool.Driver.Hosts;
using SafePool.Options;

namespace SafePool.Driver;

/// <summary>All that the pool asks of Npgsql, and the seam at which tests replace it.</summary>
/// <remarks>
/// <para>
/// Connections at rest are the source's own (they lie in Npgsql's pool); what it hands out is a new object over one of them each time.
/// It never holds more physical connections than are handed out or at rest, and never opens one but in <see cref="OpenAsync"/>.
/// </para>
/// <para>Members with <c>blocking</c> complete synchronously when it is true.</para>
/// </remarks>
internal interface IConnectionSource : IAsyncDisposable, IDisposable
{
    /// <summary>Whether what is taken within an ambient transaction may be enlisted in it.</summary>
    bool IsEnlisting { get; }

    /// <summary>The hosts that it connects to; null where a test stands for the server.</summary>
    ServerHosts? Hosts => null;

    /// <summary>Takes a connection that is at rest. Null when there is none; never waits, never connects.</summary>
    /// <remarks>It is enlisted in the transaction that is ambient. For callers who know that there is none: all others use <see cref="AmbientTransaction.TryTake"/>.</remarks>
    NpgsqlConnection? TryTakeEnlisting();

    /// <summary>Takes the connection that was closed while it was enlisted in a transaction; also when that is over, but Npgsql has not put the connection to rest.</summary>
    /// <remarks>
    /// When there is none, Npgsql tries one at rest instead and, as the transaction is over, gives it back at once.
    /// </remarks>
    /// <param name="transaction">The transaction.</param>
    /// <param name="physical">Which is sought; null when nobody knows.</param>
    /// <param name="onto">A closed object from <see cref="Create"/> that shall have it; null for a new one.</param>
    /// <param name="isBroken">There was one, but it broke: now it is gone.</param>
    NpgsqlConnection? TryTakeWithin(Transaction transaction, PhysicalConnection? physical, NpgsqlConnection? onto, out bool isBroken);

    /// <summary>From the next <see cref="Clear"/> on what is taken within an ambient transaction is enlisted in it. False when it is already.</summary>
    bool TryBeginEnlisting();

    /// <summary>A closed connection of the present data source, for whoever keeps one object and opens it again and again (EF Core).</summary>
    NpgsqlConnection Create() => new();

    /// <summary>Takes what is at rest onto an object from <see cref="Create"/>; onto a new one where that object cannot be opened any more. Null when there is nothing.</summary>
    NpgsqlConnection? TryTakeEnlisting(NpgsqlConnection onto) => TryTakeEnlisting();

    /// <summary>Takes a connection that is at rest at one host. Null when there is none.</summary>
    NpgsqlConnection? TryTakeEnlistingAt(ServerDataSource host) => null;

    /// <summary>A number that is another one once something was read or written on an open connection; null when that cannot be told.</summary>
    long? ProgressOf(NpgsqlConnection connection) => null;

    /// <summary>A connection has come to rest that was not closed by way of this.</summary>
    void NoteRested(NpgsqlConnection connection)
    {
    }

    /// <summary>A place goes to whoever wants it, and with it the right to one that is at rest.</summary>
    void NoteHandedOn()
    {
    }

    /// <summary>Opens a new connection. If one came to rest in this moment it may be that one: <see cref="OpenedConnection.IsNew"/>.</summary>
    /// <param name="attempt">On whose behalf; it is told how far this has come. Blocking if it is.</param>
    ValueTask<OpenedConnection> OpenAsync(OpenAttempt attempt);

    /// <summary>Finds out whether the server lets another connection in, at no risk for those that exist. Throws what an open would throw.</summary>
    /// <param name="isDoubtful">There is reason to think that it does not: an open that succeeded a moment ago is no proof then.</param>
    /// <param name="blocking">On a thread that may block.</param>
    /// <param name="cancellationToken">Gives it up.</param>
    ValueTask KnockAsync(bool isDoubtful, bool blocking, CancellationToken cancellationToken);

    /// <summary>The physical connection behind an open object; null when it is not known, or gone.</summary>
    PhysicalConnection? Identify(NpgsqlConnection connection);

    ConnectionState StateOf(NpgsqlConnection connection);

    /// <summary>Ends a session's use: open transaction rolled back, reset prepared, connection at rest. No I/O but for the rollback.</summary>
    void Close(NpgsqlConnection connection);

    /// <inheritdoc cref="Close"/>
    Task CloseAsync(NpgsqlConnection connection);

    /// <summary>Closes the physical connection, and no other. False when that was not possible, and it came to rest instead.</summary>
    Task<bool> RetireAsync(NpgsqlConnection connection);

    /// <summary>Runs SQL on behalf of the pool, its result ignored.</summary>
    ValueTask ExecuteAsync(NpgsqlConnection connection, string sql, bool blocking);

    /// <summary>The same, for so long as the token says, which is not longer than <see cref="PoolSettings.ReturnPatience"/> by a second. A connection that is silent then breaks with <see cref="OperationCanceledException"/> and takes no other along.</summary>
    ValueTask AskAsync(NpgsqlConnection connection, string sql, CancellationToken patience) => ExecuteAsync(connection, sql, blocking: false);

    /// <summary>Resets the session at once, prepared statements included. True when a transaction had to be rolled back for it.</summary>
    Task<bool> DiscardAllAsync(NpgsqlConnection connection);

    /// <summary>Resets the session at once as Npgsql does between leases: prepared statements survive.</summary>
    ValueTask ResetAsync(NpgsqlConnection connection, bool blocking);

    /// <summary>Drops all prepared statements of a session, also from Npgsql's own list.</summary>
    ValueTask UnprepareAllAsync(NpgsqlConnection connection, bool blocking);

    /// <summary>Asks the server to end what runs on a connection. Returns when it was asked, not when it has ended.</summary>
    ValueTask CancelAsync(NpgsqlConnection connection, bool blocking);

    /// <summary>Asks the server from outside to end what runs, where the session can be proven: for a cancel that has not arrived, because its name leads elsewhere. Never throws.</summary>
    Task<SignalOutcome> CancelFromOutsideAsync(NpgsqlConnection connection) => Task.FromResult(SignalOutcome.NotProvable);

    /// <summary>Makes the server end a session that does not come back, if it can be proven which one that is. Bounded; never throws.</summary>
    Task<SignalOutcome> TerminateAsync(NpgsqlConnection connection);

    /// <summary>Asks the server what sessions are doing. Leaves out those behind a pooler, and those whose server is not the one that answers; null when it did not answer in time; never throws.</summary>
    Task<IReadOnlyDictionary<NpgsqlConnection, BackendActivity>?> InspectAsync(IReadOnlyCollection<NpgsqlConnection> connections);

    /// <summary>Asks the server how much room it has and who uses it; null when it does not say; never throws.</summary>
    Task<ServerCensus?> TakeCensusAsync();

    /// <summary>What its sessions call themselves; null when nothing says it.</summary>
    string? ApplicationName { get; }

    /// <summary>
    /// Says something beside the pool to a server on which the pool has sessions, or to any when it has none, within <see cref="PoolSettings.ConnectTimeout"/>. Takes no place; throws what it met.
    /// </summary>
    Task<T> AskServerAsync<T>(Func<ControlSession, CancellationToken, Task<T>> act, CancellationToken cancellationToken);

    /// <summary>Its sessions, to tell them from others on the server that <see cref="AskServerAsync"/> asks; those behind a pooler are not known, and left out.</summary>
    OwnSessions FindSessions();

    /// <summary>Waits on the socket of an idle connection whose reset has been sent. Fails when it breaks; can be cancelled without harm.</summary>
    /// <remarks>Disposing the source ends it too, and closes the connection: a pool that was dropped has nobody else who would.</remarks>
    Task WatchAsync(NpgsqlConnection connection, CancellationToken cancellationToken);

    /// <summary>Whether a session that was opened now would be on a standby: asked over the control connection. Null when the server does not say, or several hosts are named: then each is asked for its role (<see cref="HostRoles"/>). Throws what it met.</summary>
    Task<bool?> LeadsToStandbyAsync(CancellationToken cancellationToken) => Task.FromResult<bool?>(null);

    /// <summary>Whether the session of an open connection is on a standby. Null when it does not say; never throws what the server says.</summary>
    Task<bool?> IsOnStandbyAsync(NpgsqlConnection connection) => Task.FromResult<bool?>(null);

    /// <summary>From the next <see cref="Clear"/> on there is room for so many connections. False when there is already.</summary>
    bool TryBeginGrowing(int maxSize) => false;

    /// <summary>Retires every physical connection: those at rest now, the others when they come back.</summary>
    /// <param name="renews">Nothing that the driver has found out is kept. Calls the user, so neither in a hurry nor in an outage.</param>
    void Clear(bool renews = false);
}

/// <summary>What an open brought.</summary>
/// <param name="Connection">Open.</param>
/// <param name="Physical">What is behind it.</param>
/// <param name="IsNew">It was not at rest before.</param>
/// <param name="Failure">What its greeting or the user's hook threw: then nobody may have it, and the caller gets rid of it.</param>
internal readonly record struct OpenedConnection(NpgsqlConnection Connection, PhysicalConnection Physical, bool IsNew, Exception? Failure = null);
