using SafePool.TestKit;

namespace SafePool.ChaosTests;

/// <summary>PgBouncer in session mode: sessions are the client's own, so nothing else about the pool is different.</summary>
internal sealed class PgBouncerMiddleman : IMiddleman
{
    private readonly PgBouncerServer _bouncer;
    private Task _pausing = Task.CompletedTask;

    private PgBouncerMiddleman(PgBouncerServer bouncer) => _bouncer = bouncer;

    public string ConnectionString => _bouncer.ConnectionString;

    public static async Task<IMiddleman> StartAsync(PostgresServer server)
        => new PgBouncerMiddleman(await PgBouncerServer.StartAsync(server.ConnectionString, options => options.Users[Landscape.Role] = ""));

    public Task PauseAsync()
    {
        // Answered only when every client has let go of its server connection, which in session mode the idle ones do not. New clients wait from now on.
        _pausing = _bouncer.CommandAsync("PAUSE");
        return Task.CompletedTask;
    }

    public async Task ResumeAsync()
    {
        await _bouncer.CommandAsync("RESUME");
        try
        {
            await _pausing;
        }
        catch (Exception cutShort) when (cutShort is InvalidOperationException or IOException)
        {
            // The pause had not come about yet, and is refused now.
        }
    }

    public Task RestartAsync() => _bouncer.RestartAsync();

    public ValueTask DisposeAsync() => _bouncer.DisposeAsync();
}
