#if TESTCONTAINERS
using Testcontainers.PostgreSql;

#endif
namespace SafePool.TestKit;

/// <summary>The last resort of <see cref="TestDatabase"/>, whose gate admits one caller at a time.</summary>
internal static class ContainerDatabase
{
    public const string Image = "postgres:17";

#if TESTCONTAINERS
    private static PostgreSqlContainer? _container;

    /// <summary>Returns the connection string of the shared container, or null where there is no Docker socket.</summary>
    public static async Task<string?> StartAsync(CancellationToken cancellationToken)
    {
        if (!File.Exists("/var/run/docker.sock") && Environment.GetEnvironmentVariable("DOCKER_HOST") is null)
        {
            return null;
        }

        if (_container is null)
        {
            var container = new PostgreSqlBuilder(Image).WithCommand("-c", "max_connections=200", "-c", "fsync=off").Build();
            await container.StartAsync(cancellationToken);
            _container = container;
        }

        return _container.GetConnectionString();
    }

    public static async Task StopAsync()
    {
        if (_container is { } container)
        {
            _container = null;
            await container.DisposeAsync();
        }
    }
#else
    public static Task<string?> StartAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return Task.FromResult<string?>(null);
    }

    public static Task StopAsync() => Task.CompletedTask;
#endif
}
