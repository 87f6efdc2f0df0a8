using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;

namespace SafePool.Tests.Outages;

/// <summary>A role, and a database of the same name, of a test's own.</summary>
internal sealed class OwnRole : IAsyncDisposable
{
    private readonly Outside _outside;
    private readonly string _name = $"itest_{Guid.NewGuid():N}";

    private readonly string _server;

    private OwnRole(string server) => (_server, _outside) = (server, new Outside(server));

    public static async Task<OwnRole> CreateAsync(string server)
    {
        var own = new OwnRole(server);
        await own._outside.DoAsync($"CREATE ROLE {own._name} LOGIN");
        await own._outside.DoAsync($"CREATE DATABASE {own._name} OWNER {own._name}");
        return own;
    }

    public void Use(NpgsqlConnectionStringBuilder text) => (text.Username, text.Database) = (_name, _name);

    /// <param name="kind">ROLE or DATABASE.</param>
    /// <param name="connections">-1 for no limit.</param>
    public Task LimitAsync(string kind, int connections) => _outside.DoAsync($"ALTER {kind} {_name} CONNECTION LIMIT {connections}");

    /// <summary>Gives its sessions a setting.</summary>
    public Task SetAsync(string setting, string value) => _outside.DoAsync($"ALTER ROLE {_name} SET {setting} = '{value}'");

    public async Task<int> CountSessionsAsync()
        => (int)await _outside.AskAsync<long>($"SELECT count(*) FROM pg_stat_activity WHERE usename = '{_name}'");

    /// <summary>Whether the database lets anybody new in.</summary>
    public Task AllowConnectionsAsync(bool allow) => _outside.DoAsync($"ALTER DATABASE {_name} ALLOW_CONNECTIONS {allow}");

    /// <summary>Makes it a member of another role.</summary>
    public Task GrantAsync(string role) => _outside.DoAsync($"GRANT {role} TO {_name}");

    /// <summary>Takes a right away from everybody in its database, who is no superuser.</summary>
    public Task RevokeAsync(string right)
        => new Outside(new NpgsqlConnectionStringBuilder(_server) { Database = _name }.ConnectionString).DoAsync($"REVOKE {right} FROM PUBLIC");

    public Task BecomeSuperuserAsync() => _outside.DoAsync($"ALTER ROLE {_name} SUPERUSER");

    public async ValueTask DisposeAsync()
        => await Eventually.True(
            async () =>
            {
                await _outside.DoAsync($"DROP DATABASE IF EXISTS {_name} WITH (FORCE)");
                await _outside.DoAsync($"DROP ROLE IF EXISTS {_name}");
                return true;
            },
            "role and database are dropped");
}
