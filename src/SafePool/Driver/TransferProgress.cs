using System.Runtime.CompilerServices;
using Npgsql;
using SafePool.Driver.Contract;
using SafePool.Lifecycle;

namespace SafePool.Driver;

/// <summary>How far a connection has come in what it receives and sends: tells whether somebody reads on, or writes on, though nobody says so.</summary>
/// <remarks>
/// Npgsql keeps no public account of it. Its own, of the two buffers, is read by name; where a version has it no longer the answer is that nothing is known, and the
/// start-up check says so (<see cref="DriverAssumptions"/>). Read from another flow while the connection works: a torn answer is just another number.
/// </remarks>
internal static class TransferProgress
{
    private const string Connector = "Npgsql.Internal.NpgsqlConnector, Npgsql";
    private const string ReadBuffer = "Npgsql.Internal.NpgsqlReadBuffer, Npgsql";
    private const string WriteBuffer = "Npgsql.Internal.NpgsqlWriteBuffer, Npgsql";

    /// <summary>A number that is another one once a byte was read or written since; null when that cannot be told.</summary>
    public static long? Of(NpgsqlConnection connection)
    {
        try
        {
            return ConnectorOf(connection) is { } connector ? ReadSoFar(ReadBufferOf(connector)) + (((long)Written(WriteBufferOf(connector)) + 1) << 40) : null;
        }
        catch (Exception error) when (error is MissingMemberException or TypeLoadException or NullReferenceException or InvalidOperationException)
        {
            // Another version of the driver, or the connection was closed in this moment.
            return null;
        }
    }

    [UnsafeAccessor(UnsafeAccessorKind.Method, Name = "get_Connector")]
    [return: UnsafeAccessorType(Connector)]
    private static extern object? ConnectorOf(NpgsqlConnection connection);

    [UnsafeAccessor(UnsafeAccessorKind.Method, Name = "get_ReadBuffer")]
    [return: UnsafeAccessorType(ReadBuffer)]
    private static extern object ReadBufferOf([UnsafeAccessorType(Connector)] object connector);

    [UnsafeAccessor(UnsafeAccessorKind.Method, Name = "get_WriteBuffer")]
    [return: UnsafeAccessorType(WriteBuffer)]
    private static extern object WriteBufferOf([UnsafeAccessorType(Connector)] object connector);

    [UnsafeAccessor(UnsafeAccessorKind.Method, Name = "get_CumulativeReadPosition")]
    private static extern long ReadSoFar([UnsafeAccessorType(ReadBuffer)] object buffer);

    [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "WritePosition")]
    private static extern ref int Written([UnsafeAccessorType(WriteBuffer)] object buffer);
}
