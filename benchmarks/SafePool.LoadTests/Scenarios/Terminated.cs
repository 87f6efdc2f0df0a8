using Npgsql;

namespace SafePool.LoadTests.Scenarios;

/// <summary>An administrator ends all sessions; the server itself is well.</summary>
internal sealed class Terminated : Scenario
{
    private const string EndAllOthers =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";

    public override string Id => "terminated";

    public override string Title => "all backends terminated";

    public override async Task<Fault> StrikeAsync(Stage stage)
    {
        await using var administrator = new NpgsqlConnection($"{stage.Server.ConnectionString};Pooling=false");
        await administrator.OpenAsync();
        await using var command = new NpgsqlCommand(EndAllOthers, administrator);
        var down = Clock.Now;
        await command.ExecuteScalarAsync();
        return new Fault(down, Clock.Now);
    }
}
