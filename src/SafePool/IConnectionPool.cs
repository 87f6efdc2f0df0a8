using System.Runtime.CompilerServices;
using Npgsql;

namespace SafePool;

/// <summary>What users of a <see cref="ConnectionPool"/> see of it, for their own tests.</summary>
public interface IConnectionPool : IAsyncDisposable, IDisposable
{
    /// <summary>Raised for every lease that is overdue, lost, abandoned, or returned after all.</summary>
    /// <remarks>
    /// On a thread-pool thread, one report after the other, never on the path of a rent or a return. What a handler throws is logged and harms nobody.
    /// </remarks>
    event Action<LeakReport>? LeakReported;

    /// <summary>Gets the pool's name in messages and logs.</summary>
    string Name { get; }

    /// <summary>Rents a connection: an idle one at once, or waits for the first that is opened or comes back.</summary>
    /// <param name="cancellationToken">Gives up the place in the queue. A connection that is being opened is kept for the next caller.</param>
    /// <param name="member">Filled in by the compiler: named in reports about this lease.</param>
    /// <param name="file">Filled in by the compiler: its name, without the path, is in reports about this lease.</param>
    /// <param name="line">Filled in by the compiler: named in reports about this lease.</param>
    /// <returns>A lease. Dispose it, best by <c>using</c>.</returns>
    /// <exception cref="PoolExhaustedException">No lease came back within <see cref="ConnectionPoolOptions.AcquireTimeout"/>.</exception>
    /// <exception cref="PoolRejectedException"><see cref="ConnectionPoolOptions.MaxWaiters"/> callers were waiting already.</exception>
    /// <exception cref="ConnectTimeoutException">There was room, but no connection was open in time.</exception>
    /// <exception cref="NpgsqlException">A connection could not be opened.</exception>
    /// <exception cref="PoolClosedException">The pool is draining or disposed.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    /// <exception cref="InvalidOperationException">The <c>TransactionScope</c> in force has been completed already.</exception>
    [OverloadResolutionPriority(1)]
    ValueTask<Lease> RentAsync(
        CancellationToken cancellationToken = default,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0);

    /// <summary>Rents a connection with options of its own.</summary>
    /// <param name="options">What this rent does differently.</param>
    /// <param name="cancellationToken">Gives up the place in the queue. A connection that is being opened is kept for the next caller.</param>
    /// <param name="member">Filled in by the compiler: named in reports about this lease.</param>
    /// <param name="file">Filled in by the compiler: its name, without the path, is in reports about this lease.</param>
    /// <param name="line">Filled in by the compiler: named in reports about this lease.</param>
    /// <returns>A lease. Dispose it, best by <c>using</c>.</returns>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    /// <inheritdoc cref="RentAsync(CancellationToken, string, string, int)" path="/exception"/>
    ValueTask<Lease> RentAsync(
        RentOptions options,
        CancellationToken cancellationToken = default,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0);

    /// <summary>Rents a connection for a caller who blocks.</summary>
    /// <remarks>Stands in the same queue as asynchronous callers, and is served also while the thread pool is starved.</remarks>
    /// <param name="options">What this rent does differently, if anything.</param>
    /// <param name="member">Filled in by the compiler: named in reports about this lease.</param>
    /// <param name="file">Filled in by the compiler: its name, without the path, is in reports about this lease.</param>
    /// <param name="line">Filled in by the compiler: named in reports about this lease.</param>
    /// <returns>A lease. Dispose it, best by <c>using</c>.</returns>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    /// <inheritdoc cref="RentAsync(CancellationToken, string, string, int)" path="/exception"/>
    Lease Rent(
        RentOptions? options = null,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0);

    /// <summary>Rents a connection if one is idle. Never waits in the queue and never opens one.</summary>
    /// <param name="lease">The lease, or <c>default</c>.</param>
    /// <param name="member">Filled in by the compiler: named in reports about this lease.</param>
    /// <param name="file">Filled in by the compiler: its name, without the path, is in reports about this lease.</param>
    /// <param name="line">Filled in by the compiler: named in reports about this lease.</param>
    /// <returns>Whether there was one.</returns>
    /// <exception cref="PoolClosedException">The pool is draining or disposed.</exception>
    /// <exception cref="InvalidOperationException">The <c>TransactionScope</c> in force has been completed already.</exception>
    bool TryRent(
        out Lease lease,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0);

    /// <summary>Rents a connection as a plain <see cref="NpgsqlConnection"/>: a drop-in for <see cref="NpgsqlDataSource.OpenConnectionAsync"/>.</summary>
    /// <remarks>
    /// Closing or disposing it returns it; opening it again is refused. Unlike a <see cref="Lease"/> it cannot be found when it is lost, a
    /// reader that is open when it is closed is read to its end, and <see cref="ConnectionPoolOptions.LeaseReturning"/> does not run for it.
    /// </remarks>
    /// <returns>An open connection.</returns>
    /// <inheritdoc cref="RentAsync(CancellationToken, string, string, int)" path="/*[not(self::summary or self::returns)]"/>
    ValueTask<NpgsqlConnection> OpenConnectionAsync(
        CancellationToken cancellationToken = default,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0);

    /// <summary>Rents a connection as a plain <see cref="NpgsqlConnection"/>: a drop-in for <see cref="NpgsqlDataSource.OpenConnection"/>.</summary>
    /// <returns>An open connection.</returns>
    /// <inheritdoc cref="OpenConnectionAsync" path="/*[not(self::summary or self::returns or self::param[@name='cancellationToken'])]"/>
    NpgsqlConnection OpenConnection(
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0);

    /// <summary>Takes a picture of the pool. Allocates, never waits.</summary>
    /// <returns>Counts, totals and holders, read one after the other while the pool goes on.</returns>
    PoolSnapshot GetSnapshot();

    /// <summary>Writes down what the pool remembers of its last events: rents, returns, opens, closes, waits, leaks. Allocates, never waits.</summary>
    /// <returns>One event a line, oldest first, with how long ago it was: for rents and returns that were served at once, to a quarter of a second.</returns>
    string DumpFlightRecorder();

    /// <summary>Opens connections until <see cref="ConnectionPoolOptions.MinSize"/> exist, <see cref="ConnectionPoolOptions.MaxConcurrentOpens"/> at a time.</summary>
    /// <remarks>Requests that come in the meantime are served first. Without it, maintenance does the same in the background, quietly.</remarks>
    /// <param name="cancellationToken">Ends the waiting; opens that are under way go on.</param>
    /// <returns>A task that ends when they are open.</returns>
    /// <exception cref="NpgsqlException">Opens kept failing for <see cref="ConnectionPoolOptions.AcquireTimeout"/>; this is what the last one threw.</exception>
    /// <exception cref="PoolClosedException">The pool is draining or disposed.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    Task WarmUpAsync(CancellationToken cancellationToken = default);

    /// <summary>Retires every physical connection: the idle ones now, the leased ones when they come back.</summary>
    /// <remarks>For a changed password, role or server. Leases that are out go on working.</remarks>
    void Clear();

    /// <summary>Closes the pool for good: refuses new rents, fails the waiters, closes what is idle, and waits for the leases.</summary>
    /// <param name="timeout">How long to wait; <see cref="Timeout.InfiniteTimeSpan"/> waits for ever.</param>
    /// <param name="cancellationToken">Ends the waiting; the pool stays closed.</param>
    /// <returns>Whether all came back, and who is left.</returns>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    Task<DrainReport> DrainAsync(TimeSpan timeout, CancellationToken cancellationToken = default);
}
