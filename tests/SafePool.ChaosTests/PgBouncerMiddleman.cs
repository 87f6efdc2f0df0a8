using SafePool.TestKit;

namespace SafePool.ChaosTests;

/// <summary>PgBouncer. In session mode sessions are the client's own, so nothing else about the pool is different.</summary>
internal sealed class PgBouncerMiddleman : IMiddleman
{
    private readonly PgBouncerServer _bouncer;
    private CancellationTokenSource? _pause;
    private Task _pausing = Task.CompletedTask;

    private PgBouncerMiddleman(PgBouncerServer bouncer, PoolMode mode)
    {
        _bouncer = bouncer;
        SharesSessions = mode != PoolMode.Session;
    }

    public string ConnectionString => _bouncer.ConnectionString;

    public bool SharesSessions { get; }

    public static async Task<IMiddleman> StartAsync(PostgresServer server, PoolMode mode)
        => new PgBouncerMiddleman(
            await PgBouncerServer.StartAsync(server.ConnectionString, options => (options.Users[Landscape.Role], options.Mode) = ("", mode)), mode);

    public Task PauseAsync()
    {
        // Answered only when every client has let go of its server connection, which in session mode the idle ones do not. New clients wait from now on.
        _pause = new CancellationTokenSource();
        _pausing = _bouncer.CommandAsync("PAUSE", _pause.Token);
        return Task.CompletedTask;
    }

    public async Task ResumeAsync()
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(5), TimeProvider.System);
        await _bouncer.CommandAsync("RESUME", patience.Token);
        await (_pause?.CancelAsync() ?? Task.CompletedTask);
        await _pausing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    public Task RestartAsync() => _bouncer.RestartAsync();

    public ValueTask DisposeAsync()
    {
        _pause?.Dispose();
        return _bouncer.DisposeAsync();
    }
}
