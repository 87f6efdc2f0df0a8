using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>Statements that follow one another.</summary>
internal static class Sequence
{
    /// <summary>The statements of a block or of a case; null for what is neither.</summary>
    public static ImmutableArray<IOperation>? Of(IOperation operation) => operation switch
    {
        IBlockOperation block => block.Operations,
        ISwitchCaseOperation section => section.Body,
        _ => null,
    };

    /// <summary>What comes after a statement in its own sequence.</summary>
    public static IEnumerable<IOperation> After(this ImmutableArray<IOperation> statements, IOperation statement)
        => statements.SkipWhile(other => other != statement).Skip(1);
}
