using SafePool.TestKit;

namespace SafePool.ChaosTests;

/// <summary>PgBouncer. In session mode sessions are the client's own, so nothing else about the pool is different.</summary>
/// <remarks>
/// PgBouncer 1.18 does not bear this treatment: a cancel request whose client goes away ends it ("bad client state: 0"). It is started again then, as its service would be: its death is one
/// more fault, not one of the pool's.
/// </remarks>
internal sealed class PgBouncerMiddleman : IMiddleman
{
    private static readonly TimeSpan _look = TimeSpan.FromMilliseconds(50);

    private readonly PgBouncerServer _bouncer;
    private readonly SemaphoreSlim _turn = new(1, 1);
    private readonly CancellationTokenSource _end = new();
    private readonly Task _keeping;
    private string? _lastWords;
    private CancellationTokenSource? _pause;
    private Task _pausing = Task.CompletedTask;

    private PgBouncerMiddleman(PgBouncerServer bouncer, PoolMode mode)
    {
        _bouncer = bouncer;
        SharesSessions = mode != PoolMode.Session;
        _keeping = KeepAliveAsync();
    }

    public string ConnectionString => _bouncer.ConnectionString;

    public bool SharesSessions { get; }

    public static async Task<IMiddleman> StartAsync(PostgresServer server, PoolMode mode)
        => new PgBouncerMiddleman(
            await PgBouncerServer.StartAsync(
                server.ConnectionString,
                options =>
                {
                    (options.Users[Landscape.Role], options.Mode) = ("", mode);
                    options.Use124 = PgBouncerOptions.Has124;
                }),
            mode);

    public string? TakeLastWords() => Interlocked.Exchange(ref _lastWords, null);

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
        try
        {
            await _bouncer.CommandAsync("RESUME", patience.Token);
        }
        catch (Exception error) when (error is InvalidOperationException or IOException or System.Net.Sockets.SocketException)
        {
            // It has died in the meantime, and the pause with it; or it had before it was paused.
        }

        await (_pause?.CancelAsync() ?? Task.CompletedTask);
        await _pausing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    public async Task RestartAsync()
    {
        await _turn.WaitAsync();
        try
        {
            await _bouncer.RestartAsync();
        }
        finally
        {
            _turn.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        await _keeping;
        _end.Dispose();
        _turn.Dispose();
        _pause?.Dispose();
        await _bouncer.DisposeAsync();
    }

    private async Task KeepAliveAsync()
    {
        while (!_end.IsCancellationRequested)
        {
            await _turn.WaitAsync();
            try
            {
                if (_bouncer.LastWords is { } words)
                {
                    _lastWords = words[^Math.Min(words.Length, 500)..];
                    await _bouncer.RestartAsync();
                }
            }
            finally
            {
                _turn.Release();
            }

            await Task.Delay(_look, TimeProvider.System, _end.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
