using Npgsql;

namespace SafePool.ChaosTests.Load;

/// <summary>What a rent has brought: a lease, or a plain connection that returns itself.</summary>
internal sealed class Session
{
    public Session(Lease lease)
    {
        Lease = lease;
        Connection = lease.Connection;
    }

    public Session(NpgsqlConnection connection) => Connection = connection;

    public Lease? Lease { get; }

    public NpgsqlConnection Connection { get; }

    /// <summary>Gets or sets what was done with it.</summary>
    public string? Use { get; set; }

    public NpgsqlCommand CreateCommand(string sql) => Lease is { } lease ? lease.CreateCommand(sql) : new NpgsqlCommand(sql, Connection);

    public NpgsqlBatch CreateBatch() => Lease is { } lease ? lease.CreateBatch() : new NpgsqlBatch(Connection);

    public async ValueTask ReturnAsync()
    {
        if (Lease is { } lease)
        {
            await lease.DisposeAsync();
        }
        else
        {
            await Connection.DisposeAsync();
        }
    }

    public void Return()
    {
        if (Lease is { } lease)
        {
            lease.Dispose();
        }
        else
        {
            Connection.Dispose();
        }
    }
}
