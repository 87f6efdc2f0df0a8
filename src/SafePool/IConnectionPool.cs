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

    /// <summary>Rents a connection like <see cref="RentAsync(CancellationToken, string, string, int)"/>, but tells a refusal as a result.</summary>
    /// <remarks>
    /// For callers that shed load: a thrown exception costs thirty times what a refusal does. What is not the pool's own answer is thrown all the same: a connection that could
    /// not be opened, a cancelled token, an option out of range.
    /// </remarks>
    /// <param name="options">What this rent does differently, if anything.</param>
    /// <param name="cancellationToken">Gives up the place in the queue. A connection that is being opened is kept for the next caller.</param>
    /// <param name="member">Filled in by the compiler: named in reports about this lease.</param>
    /// <param name="file">Filled in by the compiler: its name, without the path, is in reports about this lease.</param>
    /// <param name="line">Filled in by the compiler: named in reports about this lease.</param>
    /// <returns>A lease, or the reason why not. Dispose it, best by <c>using</c>.</returns>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    /// <exception cref="NpgsqlException">A connection could not be opened.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    /// <exception cref="InvalidOperationException">The <c>TransactionScope</c> in force has been completed already.</exception>
    ValueTask<RentOutcome> TryRentAsync(
        RentOptions? options = null,
        CancellationToken cancellationToken = default,
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
    /// <returns>
    /// One event a line, oldest first, with how long ago it was: for rents and returns that were served at once, to a quarter of a second. That somebody waits is noted once in a quarter of a second.
    /// </returns>
    string DumpFlightRecorder();

    /// <summary>Asks the server how many connections of how many are in use, by whom, and in what state: what a person would look up in <c>pg_stat_activity</c>.</summary>
    /// <remarks>
    /// Over the control connection: takes no place of the pool, works while it is exhausted, draining or refusing rents, and is bounded by <see cref="ConnectionPoolOptions.ConnectTimeout"/>.
    /// For a person or a health page, not for every request: the answer grows with the number of sessions.
    /// </remarks>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns>The server's figures at one moment.</returns>
    /// <exception cref="ControlConnectionException">The server is down, full, or did not answer in time.</exception>
    /// <exception cref="PoolClosedException">The pool is disposed.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    Task<ServerReport> GetServerReportAsync(CancellationToken cancellationToken = default);

    /// <summary>Finds sessions of one application that have been idle for long and, unless it is a dry run, makes the server end them.</summary>
    /// <remarks>
    /// <para>
    /// Never an active session: whether it is still the same one in the same idleness is looked up by the statement that ends it. Never a connection of this pool, whose idle ones
    /// end after <see cref="ConnectionPoolOptions.IdleTimeout"/> by themselves, and never another application's unless it is named. Other instances of this application are this
    /// application too: their pools notice, and open what they need anew.
    /// </para>
    /// <para>Behind a pooler nothing is ended: sessions there are the pooler's. Like <see cref="GetServerReportAsync"/> it takes no place of the pool, and is bounded in time.</para>
    /// </remarks>
    /// <param name="olderThan">For how long a session must have been idle. Zero or more.</param>
    /// <param name="applicationName">Whose sessions, by <c>application_name</c>; null for those with this pool's.</param>
    /// <param name="dryRun">True, the default, only tells which sessions are meant. Whether the server permits to end them shows only without it.</param>
    /// <param name="includeInTransaction">Whether to end sessions that are idle within a transaction too: what they have not committed is lost.</param>
    /// <param name="cancellationToken">Gives up; sessions that were told to end until then do end.</param>
    /// <returns>Each session that was idle for so long, and what became of it.</returns>
    /// <exception cref="ArgumentException"><paramref name="olderThan"/> is negative, or <paramref name="applicationName"/> is blank.</exception>
    /// <exception cref="InvalidOperationException">No application is named, and the pool's connection string has no <c>Application Name</c>.</exception>
    /// <inheritdoc cref="GetServerReportAsync" path="/exception"/>
    Task<TerminationReport> TerminateIdleSessionsAsync(
        TimeSpan olderThan,
        string? applicationName = null,
        bool dryRun = true,
        bool includeInTransaction = false,
        CancellationToken cancellationToken = default);

    /// <summary>Opens connections until <see cref="ConnectionPoolOptions.MinSize"/> exist, <see cref="ConnectionPoolOptions.MaxConcurrentOpens"/> at a time.</summary>
    /// <remarks>Requests that come in the meantime are served first. Without it, maintenance does the same in the background, quietly.</remarks>
    /// <param name="cancellationToken">Ends the waiting; opens that are under way go on.</param>
    /// <returns>A task that ends when they are open.</returns>
    /// <exception cref="NpgsqlException">Opens kept failing for <see cref="ConnectionPoolOptions.AcquireTimeout"/>; this is what the last one threw. Or the server had no room for so many for as long.</exception>
    /// <exception cref="PoolPausedException">The pool was paused for as long.</exception>
    /// <exception cref="PoolClosedException">The pool is draining or disposed.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    Task WarmUpAsync(CancellationToken cancellationToken = default);

    /// <summary>Changes options while the pool works: those of size, budgets, ages, leaks and breaker. The others are refused, and said so in the log.</summary>
    /// <remarks>
    /// A larger <see cref="ConnectionPoolOptions.MaxSize"/> serves waiters at once. A smaller one retires idle connections at once, and leased ones as they come back; until then there are more than
    /// <see cref="ConnectionPoolOptions.MaxSize"/>. A new <see cref="ConnectionPoolOptions.MaxLifetime"/> is that of connections opened from now on. Rents that wait already keep their budgets.
    /// </remarks>
    /// <param name="change">Gets the options as they are in force.</param>
    /// <returns>The names of the options that were changed, and of those that cannot change.</returns>
    /// <exception cref="Microsoft.Extensions.Options.OptionsValidationException">Something would be wrong with the options: nothing was changed, and every fault is listed.</exception>
    /// <exception cref="PoolClosedException">The pool is draining or disposed.</exception>
    ReconfigureResult Reconfigure(Action<ConnectionPoolOptions> change);

    /// <summary>The same with options as a whole: whatever they leave out has its default.</summary>
    /// <inheritdoc cref="Reconfigure(Action{ConnectionPoolOptions})"/>
    /// <param name="options">Are not frozen.</param>
    ReconfigureResult Reconfigure(ConnectionPoolOptions options);

    /// <summary>Begins a time without connections, for maintenance of the server: the idle ones are closed now, the leased ones when they come back, and no new ones are opened.</summary>
    /// <remarks>
    /// Rents wait for <see cref="Resume"/> in their own budgets; those whose budget ends before, or for whom the queue has no room, get a <see cref="PoolPausedException"/>.
    /// <see cref="IConnectionPool.TryRent"/> gives nothing. A pool that is paused already stays so.
    /// </remarks>
    /// <param name="cancellationToken">Ends the waiting; the pool stays paused.</param>
    /// <returns>A task that ends when no connection to the server is left, its own included, or <see cref="Resume"/> was called. It waits for leases as long as they take.</returns>
    /// <exception cref="PoolClosedException">The pool is draining or disposed.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    Task PauseAsync(CancellationToken cancellationToken = default);

    /// <summary>Ends a pause: opens connections for those who wait. Does nothing when there is none.</summary>
#pragma warning disable CA1716 // The field's own word.
    void Resume();
#pragma warning restore CA1716

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
