using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>A server for one class of tests on which nothing has a session but they: a vacuum in the background counts against the limit of a database.</summary>
public sealed class QuietServer : IAsyncLifetime
{
    private PostgresServer? _server;

    public string ConnectionString => _server!.ConnectionString;

    public async ValueTask InitializeAsync() => _server = await PostgresServer.StartAsync(options => options.Settings["autovacuum"] = "off");

    public ValueTask DisposeAsync() => _server?.DisposeAsync() ?? ValueTask.CompletedTask;
}
