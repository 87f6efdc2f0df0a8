namespace SafePool.Driver.Contract;

/// <summary>One thing that the pool takes for granted of Npgsql, and how to find out whether it holds.</summary>
/// <typeparam name="TSubject">What is looked at.</typeparam>
/// <param name="What">What Npgsql does, as the message shall name it: "an open with a cancelled token gives up at once".</param>
/// <param name="Otherwise">What goes wrong with a driver that does not: "rents open connections that nobody counts".</param>
/// <param name="Holds">Whether it does, without a word to any server. One that throws does not hold.</param>
internal sealed record DriverAssumption<TSubject>(string What, string Otherwise, Func<TSubject, bool> Holds);
