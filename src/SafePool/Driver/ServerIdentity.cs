namespace SafePool.Driver;

/// <summary>What a server says of itself that no other server says, and it not after a restart: when it was started. A name or an address is no identity.</summary>
/// <param name="StartedAt"><c>pg_postmaster_start_time()</c>, in microseconds since 1970 by the server's clock.</param>
internal sealed record ServerIdentity(long StartedAt)
{
    /// <summary>How a server is asked for it, as an <c>int8</c>. A number, so that neither time zones nor the driver's own idea of a timestamp can change it.</summary>
    public const string Sql = "(round(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8)";

    /// <summary>"the server started at 2026-11-30 10:02:36.123456Z", for a message.</summary>
    /// <returns>Words.</returns>
    public override string ToString()
        => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"the server started at {DateTime.UnixEpoch.AddMicroseconds(StartedAt):yyyy-MM-dd HH:mm:ss.ffffff}Z");
}
