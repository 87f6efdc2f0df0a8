using System.Data;
using Npgsql;
using SafePool.Driver;
using SafePool.Leases;
using SafePool.Reports;
using SafePool.Time;

namespace SafePool;

/// <summary>A connection of a <see cref="ConnectionPool"/> for a while. Dispose it and the connection is back.</summary>
/// <remarks>
/// <para>
/// Copies are one lease: disposing any of them returns it, disposing again does nothing, and using one afterwards throws
/// <see cref="ObjectDisposedException"/>. <c>default(Lease)</c> is a lease that was returned.
/// </para>
/// <para>
/// A lease of which every copy was lost is found by the garbage collector and taken back. A copy of a <em>returned</em> lease that is
/// kept in a field hides later losses on the same place, and so does nothing else: do not keep leases.
/// </para>
/// <para>
/// Dispose commands, readers and transactions before the lease, and never use a reader or transaction that was disposed: Npgsql re-uses those
/// objects for the next user of the physical connection.
/// </para>
/// </remarks>
public readonly struct Lease : IDisposable, IAsyncDisposable, IEquatable<Lease>
{
    private readonly LeaseHandle? _handle;
    private readonly long _id;

    internal Lease(LeaseHandle handle, long id)
    {
        _handle = handle;
        _id = id;
    }

    /// <summary>Gets the lease's number, unique in its pool; 0 for <c>default</c>.</summary>
    public long Id => _id;

    /// <summary>Gets the open connection.</summary>
    /// <remarks>
    /// Closing it does not end the lease; disposing the lease does, and disposes the connection, so that whoever keeps it cannot open it again. It leads to the pool's database for as long as the lease lasts:
    /// <see cref="NpgsqlConnection.ChangeDatabase"/> and another <see cref="NpgsqlConnection.ConnectionString"/> end in <see cref="InvalidOperationException"/> when it is opened.
    /// Its string is the driver's: the <c>Maximum Pool Size</c> in it is <see cref="ConnectionPoolOptions.MaxSize"/> and ten more.
    /// </remarks>
    /// <exception cref="ObjectDisposedException">The lease was returned; or taken away: then it is a <see cref="LeaseAbandonedException"/>.</exception>
    /// <exception cref="System.Transactions.TransactionAbortedException">The ambient transaction in which it was rented was rolled back, or has run out of time: what is done now would be in none.</exception>
    /// <exception cref="InvalidOperationException">That transaction was committed.</exception>
    public NpgsqlConnection Connection
    {
        get
        {
            var slot = Slot;
            // The connection first, then the id: ids never come back, so a match proves that the connection belongs to this lease.
            var connection = slot.Connection;
            Volatile.ReadBarrier();
            if (slot.LeaseId != _id || connection is null)
            {
                throw Ended();
            }

            if (slot.Enlistment is { HasEnded: true } ended)
            {
                throw ended.Refusal();
            }

            slot.NoteUse(connection);
            return connection;
        }
    }

    internal LeaseHandle? Handle => _handle;

    private LeaseSlot Slot => _handle?.Slot ?? throw new ObjectDisposedException(nameof(Lease), Sentences.LeaseReturned);

    /// <summary>Compares two leases.</summary>
    /// <param name="left">One lease.</param>
    /// <param name="right">Another.</param>
    /// <returns>Whether they are copies of one lease.</returns>
    public static bool operator ==(Lease left, Lease right) => left.Equals(right);

    /// <summary>Compares two leases.</summary>
    /// <param name="left">One lease.</param>
    /// <param name="right">Another.</param>
    /// <returns>Whether they are different leases.</returns>
    public static bool operator !=(Lease left, Lease right) => !left.Equals(right);

    /// <summary>Makes a command on this lease's connection.</summary>
    /// <param name="commandText">Its SQL, if it is known already.</param>
    /// <returns>A command; dispose it before the lease.</returns>
    /// <exception cref="ObjectDisposedException">The lease was returned.</exception>
    public NpgsqlCommand CreateCommand(string? commandText = null)
    {
        var command = Connection.CreateCommand();
        command.CommandText = commandText ?? "";
        return command;
    }

    /// <summary>Makes a batch on this lease's connection.</summary>
    /// <returns>A batch; dispose it before the lease.</returns>
    /// <exception cref="ObjectDisposedException">The lease was returned.</exception>
    public NpgsqlBatch CreateBatch() => Connection.CreateBatch();

    /// <summary>Begins a transaction. Left open, it is rolled back when the lease comes back, and a warning says so.</summary>
    /// <remarks>Behind a pooler that gives out server sessions by transaction the pool's timeouts are set here, which costs a round trip: see docs/poolers.md.</remarks>
    /// <param name="level">Its isolation level; the server's default if unspecified.</param>
    /// <returns>The transaction; dispose it before the lease.</returns>
    /// <exception cref="ObjectDisposedException">The lease was returned.</exception>
    public NpgsqlTransaction BeginTransaction(IsolationLevel level = IsolationLevel.Unspecified)
    {
        var slot = Slot;
        var transaction = Connection.BeginTransaction(level);
        slot.LastTransaction = transaction;
        if (slot.Pool.WordsForTransaction(slot) is { } sql)
        {
            Synchronously.Result(LeaseTimeouts.SayAsync(transaction, sql, blocking: true, CancellationToken.None));
        }

        return transaction;
    }

    /// <summary>Begins a transaction. Left open, it is rolled back when the lease comes back, and a warning says so.</summary>
    /// <remarks>Behind a pooler that gives out server sessions by transaction the pool's timeouts are set here, which costs a round trip: see docs/poolers.md.</remarks>
    /// <param name="level">Its isolation level; the server's default if unspecified.</param>
    /// <param name="cancellationToken">Cancels the beginning.</param>
    /// <returns>The transaction; dispose it before the lease.</returns>
    /// <exception cref="ObjectDisposedException">The lease was returned.</exception>
    public async ValueTask<NpgsqlTransaction> BeginTransactionAsync(
        IsolationLevel level = IsolationLevel.Unspecified, CancellationToken cancellationToken = default)
    {
        var slot = Slot;
        var transaction = await Connection.BeginTransactionAsync(level, cancellationToken).ConfigureAwait(false);
        if (slot.LeaseId == _id)
        {
            slot.LastTransaction = transaction;
            if (slot.Pool.WordsForTransaction(slot) is { } sql)
            {
                await LeaseTimeouts.SayAsync(transaction, sql, blocking: false, cancellationToken).ConfigureAwait(false);
            }
        }

        return transaction;
    }

    /// <summary>Cancels the running command of this lease, whoever made it, if there is one.</summary>
    /// <remarks>
    /// For readers that are left early: Npgsql reads the rest of a result when its reader is disposed, so cancel first. Blocks for the
    /// moment that a cancel request takes. Does nothing when nothing runs, or when the lease was returned.
    /// </remarks>
    public void Cancel()
    {
        if (_handle is { Slot: var slot } && slot.Connection is { } connection && slot.LeaseId == _id)
        {
            slot.Pool.Cancel(connection);
        }
    }

    /// <summary>Waits until a notification or notice arrives, and makes sure meanwhile that the server is still there.</summary>
    /// <remarks>
    /// <para>
    /// <see cref="NpgsqlConnection.WaitAsync(CancellationToken)"/> alone waits for ever when something in between has gone deaf, and breaks its connection when it is cancelled within a millisecond of the rent. This one first sends what waits
    /// to be sent, so it may be cancelled at any time, and asks for a sign of life after each <paramref name="signOfLife"/>. The server has two seconds to answer, and Npgsql takes up to <see cref="ConnectionPoolOptions.ConnectTimeout"/> more to give up.
    /// </para>
    /// <para>What arrived is told by <see cref="NpgsqlConnection.Notification"/>; it may come back without anything having arrived.</para>
    /// </remarks>
    /// <param name="signOfLife">How long it may be silent before the server is asked. More than zero, up to one day.</param>
    /// <param name="cancellationToken">Ends the wait; the lease is as good as before.</param>
    /// <returns>A task that ends when something has arrived.</returns>
    /// <exception cref="NpgsqlException">The connection is dead: the server gave no sign of life, or closed it.</exception>
    /// <exception cref="ObjectDisposedException">The lease was returned.</exception>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="signOfLife"/> is out of range.</exception>
    public Task WaitAsync(TimeSpan signOfLife, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(signOfLife, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(signOfLife, TimeSpan.FromDays(1));
        return new NotificationWait(this, signOfLife).RunAsync(cancellationToken);
    }

    /// <summary>Returns the lease. Cancels what still runs on it, rolls back an open transaction, resets the session.</summary>
    /// <remarks>
    /// Blocks only for words with the server (to roll back an open transaction, under <c>Reset = Strict</c>) and for hooks, and for no longer than two seconds: what has not ended by then goes
    /// on without the caller, and the place is quarantined meanwhile. When a command still runs, or a reader is still open, its cancelling goes on in the background from the start.
    /// Hooks run without the caller's <see cref="SynchronizationContext"/>. Never throws: what goes wrong is logged, and costs the connection, not the place.
    /// </remarks>
    public void Dispose() => _handle?.Slot.Pool.Return(_handle, _id);

    /// <summary>Returns the lease. Cancels what still runs on it, rolls back an open transaction, resets the session.</summary>
    /// <remarks>
    /// Completes when the connection is back or given up. Never throws: what goes wrong is logged, and costs the connection, not the place.
    /// </remarks>
    /// <returns>A task that is complete already unless there was something to say to the server.</returns>
    public ValueTask DisposeAsync() => _handle is null ? ValueTask.CompletedTask : _handle.Slot.Pool.ReturnAsync(_handle, _id);

    /// <summary>Compares with another lease.</summary>
    /// <param name="other">Another lease.</param>
    /// <returns>Whether both are copies of one lease.</returns>
    public bool Equals(Lease other) => ReferenceEquals(_handle, other._handle) && _id == other._id;

    private Exception Ended()
        => _handle?.TakenAway is { } taken && taken.LeaseId == _id
            ? taken.Refusal()
            : new ObjectDisposedException(nameof(Lease), Sentences.LeaseReturned);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is Lease other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => _id.GetHashCode();
}
