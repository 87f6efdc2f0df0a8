using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Identity;

/// <summary>Two servers, each with process ids of its own, as in containers.</summary>
public sealed class TwoServers : IAsyncLifetime
{
    public PostgresServer First { get; private set; } = null!;

    public PostgresServer Second { get; private set; } = null!;

    /// <summary>Starts one.</summary>
    public static Task<PostgresServer> StartAsync()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "Process ids of their own take root.");
        return PostgresServer.StartAsync(
            options =>
            {
                options.HasOwnProcessIds = true;
                options.Settings["autovacuum"] = "off";
            });
    }

    public async ValueTask InitializeAsync()
    {
        if (Environment.IsPrivilegedProcess)
        {
            (First, Second) = (await StartAsync(), await StartAsync());
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (Environment.IsPrivilegedProcess)
        {
            await First.DisposeAsync();
            await Second.DisposeAsync();
        }
    }
}
